"""How online training is doing: progressive validation over all rows and over the last ones, speed and lag."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from recsys.evaluation.judged_items import Floats, Judged, Keys
from recsys.evaluation.metrics import Summary
from recsys.evaluation.progressive import Progressive
from streaming.encode.batch import TrainingBatch

_FILE = "progress.safetensors"


class Progress:
    """Counts every batch; figures cover shown items, scored before they were learned from (see `Judged`).

    Each of the `tasks` has figures of its own; their `recent` ones cover the last one to two times `window` rows of the
    task. `clock` gives seconds for the rate.
    """

    def __init__(
        self,
        window: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
        tasks: Sequence[str] = ("click",),
    ) -> None:
        self._clock = clock
        self._figures = {task: _Figures(window) for task in tasks}
        self._started = clock()
        self._learned = self._rows_at_start = self._events_at_start = self._events = 0
        self.now = 0
        """Event time (ms) of the newest label."""
        self.lag_events = 0
        """Unread events in the log; an upper bound if the log skips offsets."""

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self._figures)

    def start(self, events: int) -> None:
        """Measure speed from now on; `events` of the log have been read so far."""
        self._started = self._clock()
        self._rows_at_start, self._events_at_start, self._events = self.rows, events, events

    def add(self, batch: TrainingBatch, scores_B: Floats, *, events: int, lag: int) -> None:
        """Count a batch; `events` of the log have been read by now, and `lag` have not."""
        for task, figures in enumerate(self._figures.values()):
            figures.add(batch, scores_B, batch.tasks_B == task)
        self._learned += len(batch)
        self.now = max(self.now, batch.now)
        self._events, self.lag_events = events, lag

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

    def total(self, task: str = "") -> Summary:
        """Of a task, by default the first."""
        return self._of(task).total()

    @property
    def labels(self) -> dict[str, tuple[float, float]]:
        """Weight of all labels by task, and of the positive ones."""
        found = {task: self.total(task) for task in self.tasks}
        return {task: (total.weight, total.positives) for task, total in found.items()}

    def recent(self, task: str = "") -> Summary:
        """Of a task, by default the first."""
        return self._of(task).recent()

    def _of(self, task: str) -> _Figures:
        return self._figures[task or self.tasks[0]]

    def begin_save(self, folder: Path) -> Callable[[], None]:
        """Capture the current state; the function returned writes it into `folder`, from any thread."""
        arrays = {"now": np.array([self.now]), "learned": np.array([self._learned])}
        for task, figures in self._figures.items():
            arrays |= {f"{task}.{key}": value.copy() for key, value in figures.state().items()}
        return partial(save_file, arrays, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Restore the state saved in `folder`."""
        arrays = load_file(folder / _FILE)
        for task, figures in self._figures.items():
            figures.restore({key: arrays[f"{task}.{key}"] for key in figures.state()})
        self.now, self._learned = int(arrays["now"][0]), int(arrays["learned"][0])


class _Figures:
    """Figures of one task: over all its rows, and over the last one to two times `window`."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._total = Judged()
        self._current, self._previous = Judged(bins=1 << 12), Judged(bins=1 << 12)

    def add(self, batch: TrainingBatch, scores_B: Floats, own_B: npt.NDArray[np.bool_]) -> None:
        """Count the task's own rows of a batch."""
        first_B, again_B = own_B & (batch.counted_B > 0), own_B & (batch.counted_B == 0)
        for judged in (self._total, self._current):
            judged.add(batch.keys_B[first_B], batch.labels_B[first_B], scores_B[first_B], batch.weights_B[first_B])
        if again_B.any():
            self._correct(batch.keys_B[again_B], batch.weights_B[again_B])
        if self._current.figures.rows >= self._window:
            self._previous, self._current = self._current, Judged(bins=1 << 12)

    def _correct(self, keys_R: Keys, weights_R: Floats) -> None:
        self._total.turn_positive(keys_R, weights_R)
        left_R = ~self._current.turn_positive(keys_R, weights_R)
        self._previous.turn_positive(keys_R[left_R], weights_R[left_R])

    def total(self) -> Summary:
        return self._total.figures.summary()

    def recent(self) -> Summary:
        merged = Progressive(bins=1 << 12)
        merged.merge(self._previous.figures)
        merged.merge(self._current.figures)
        return merged.summary()

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {f"{name}.{key}": value for name, part in self._parts().items() for key, value in part.state().items()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Restore what `state` returned. Raises ValueError for another number of bins."""
        for name, part in self._parts().items():
            part.restore({key: state[f"{name}.{key}"] for key in part.state()})

    def _parts(self) -> dict[str, Judged]:
        return {"total": self._total, "current": self._current, "previous": self._previous}
