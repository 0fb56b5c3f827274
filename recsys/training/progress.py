"""How online training is doing: progressive validation in total and lately, speed and lag."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from recsys.evaluation.metrics import Summary
from recsys.evaluation.progressive import Progressive
from streaming.encode.batch import TrainingBatch

_FILE = "progress.safetensors"


class Progress:
    """Counts every batch that was scored before it was learned from.

    `recent` covers the last one to two times `window` rows. `clock` gives seconds for the rate.
    """

    def __init__(self, window: int = 20_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._clock = clock
        self._total = Progressive()
        self._current, self._previous = Progressive(bins=1 << 12), Progressive(bins=1 << 12)
        self._started = clock()
        self._rows_at_start = 0
        self.now = 0
        """Event time (ms) of the newest label."""
        self.lag_events = 0
        """Events in the log that were not read yet."""

    def add(self, batch: TrainingBatch, scores_B: npt.NDArray[np.float32], *, lag: int) -> None:
        for progressive in (self._total, self._current):
            progressive.add(batch.labels_B, scores_B, batch.weights_B)
        self.now = max(self.now, batch.now)
        self.lag_events = lag
        if self._current.rows >= self._window:
            self._previous, self._current = self._current, Progressive(bins=1 << 12)

    @property
    def rows(self) -> int:
        return self._total.rows

    def rows_per_second(self) -> float:
        """Since this process began or resumed."""
        return (self.rows - self._rows_at_start) / max(self._clock() - self._started, 1e-9)

    def total(self) -> Summary:
        return self._total.summary()

    def recent(self) -> Summary:
        merged = Progressive(bins=1 << 12)
        merged.merge(self._previous)
        merged.merge(self._current)
        return merged.summary()

    def save(self, folder: Path) -> None:
        parts = {"total": self._total, "current": self._current, "previous": self._previous}
        arrays = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state().items()}
        save_file(arrays | {"now": np.array([self.now])}, folder / _FILE)

    def load(self, folder: Path) -> None:
        arrays = load_file(folder / _FILE)
        for name, part in (("total", self._total), ("current", self._current), ("previous", self._previous)):
            part.restore({key: arrays[f"{name}.{key}"] for key in part.state()})
        self.now = int(arrays["now"][0])
        self._rows_at_start, self._started = self.rows, self._clock()
