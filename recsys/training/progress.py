"""How online training is doing: progressive validation over all rows and over the last ones, speed and lag."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from recsys.evaluation.judged import Judged, Keys
from recsys.evaluation.metrics import Summary
from recsys.evaluation.progressive import Progressive
from streaming.encode.batch import TrainingBatch

_FILE = "progress.safetensors"


class Progress:
    """Counts every batch; figures are over shown items, by their scores from before they were learned (see `Judged`).

    `recent` covers the last one to two times `window` rows. `clock` gives seconds for the rate.
    """

    def __init__(self, window: int = 20_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._clock = clock
        self._total = Judged()
        self._current, self._previous = Judged(bins=1 << 12), Judged(bins=1 << 12)
        self._started = clock()
        self._learned = self._rows_at_start = self._events_at_start = self._events = 0
        self.now = 0
        """Event time (ms) of the newest label."""
        self.lag_events = 0
        """Events in the log not read yet; of a log that skips offsets, at most."""

    def start(self, events: int) -> None:
        """Speed counts from now on, when `events` of the log have been read."""
        self._started = self._clock()
        self._rows_at_start, self._events_at_start, self._events = self.rows, events, events

    def add(self, batch: TrainingBatch, scores_B: npt.NDArray[np.float32], *, events: int, lag: int) -> None:
        """Count a batch; `events` of the log have been read by now, and `lag` have not."""
        first_B, again_B = batch.counted_B > 0, batch.counted_B == 0
        for judged in (self._total, self._current):
            judged.add(batch.keys_B[first_B], batch.labels_B[first_B], scores_B[first_B], batch.weights_B[first_B])
        if again_B.any():
            self._correct(batch.keys_B[again_B], batch.weights_B[again_B])
        self._learned += len(batch)
        self.now = max(self.now, batch.now)
        self._events, self.lag_events = events, lag
        if self._current.figures.rows >= self._window:
            self._previous, self._current = self._current, Judged(bins=1 << 12)

    def _correct(self, keys_R: Keys, weights_R: npt.NDArray[np.float32]) -> None:
        self._total.turn_positive(keys_R, weights_R)
        left_R = ~self._current.turn_positive(keys_R, weights_R)
        self._previous.turn_positive(keys_R[left_R], weights_R[left_R])

    @property
    def rows(self) -> int:
        """Training rows learned from; a corrected label is a second row of its shown item."""
        return self._learned

    def rows_per_second(self) -> float:
        """Training rows learned from, since `start`."""
        return (self.rows - self._rows_at_start) / self._seconds()

    def events_per_second(self) -> float:
        """Events of the log read, since `start`."""
        return (self._events - self._events_at_start) / self._seconds()

    def _seconds(self) -> float:
        return max(self._clock() - self._started, 1e-9)

    def total(self) -> Summary:
        return self._total.figures.summary()

    def recent(self) -> Summary:
        merged = Progressive(bins=1 << 12)
        merged.merge(self._previous.figures)
        merged.merge(self._current.figures)
        return merged.summary()

    def begin_save(self, folder: Path) -> Callable[[], None]:
        """Capture the state of this moment; the function returned writes it into `folder`, from any thread."""
        parts = {"total": self._total, "current": self._current, "previous": self._previous}
        arrays = {f"{name}.{key}": value.copy() for name, part in parts.items() for key, value in part.state().items()}
        clocks = {"now": np.array([self.now]), "learned": np.array([self._learned])}
        return partial(save_file, arrays | clocks, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Restore what was written into `folder`."""
        arrays = load_file(folder / _FILE)
        for name, part in (("total", self._total), ("current", self._current), ("previous", self._previous)):
            part.restore({key: arrays[f"{name}.{key}"] for key in part.state()})
        self.now, self._learned = int(arrays["now"][0]), int(arrays["learned"][0])
