"""Rows to score: every item of every impression of the online stage, once a task, as known when it was shown.

Shape suffixes: R rows, N numeric fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streaming.encode.batch import Jagged, TrainingBatch

if TYPE_CHECKING:
    from streaming.feed import Feed


@dataclass(frozen=True, slots=True)
class _Column:
    """One field of all rows: row r has `values[offsets[r] : offsets[r + 1]]`."""

    values: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]

    @staticmethod
    def of(jagged: Jagged) -> _Column:
        return _Column(jagged.values, np.concatenate([[0], np.cumsum(jagged.lengths_B, dtype=np.int64)]))

    def sums(self) -> npt.NDArray[np.uint64]:
        """Of each row's values, modulo 2^64."""
        totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(self.values)])
        return np.asarray(totals[self.offsets[1:]] - totals[self.offsets[:-1]])

    def slice(self, start: int, stop: int) -> Jagged:
        offsets = self.offsets[start : stop + 1]
        return Jagged(self.values[offsets[0] : offsets[-1]], np.diff(offsets).astype(np.int32))


class ScoredRows:
    """Rows in order of impression time, with their final labels. In memory: 8 bytes an id, about 30 a row besides.

    Batches come in the order in which labels became known. Of that order nothing is left here: rows of one instant are
    ordered by what the model reads from them.

    `labels_R` never reaches the model before training sees it in its own time: only `slice` gives rows to a model, and
    it leaves labels out (they are zeros).
    """

    def __init__(self, batches: Iterable[TrainingBatch], start: int, until: int) -> None:
        """Keep the rows shown from `start` up to, not including, `until` (event time, ms).

        A row that corrects the label of another one gives it its label, and is not kept.
        """
        corrected, parts = [np.zeros(0, np.int64)], list[TrainingBatch]()
        for batch in batches:
            corrected.append(batch.keys_B[batch.counted_B == 0])
            if len(within := _within(batch, start, until)):
                parts.append(batch.take(within))
        rows = TrainingBatch.concat(parts or [_no_rows()])
        rows = rows.take(
            np.lexsort((rows.tasks_B, rows.propensities_B, rows.positions_B, _contents(rows), rows.times_B))
        )
        self.times_R, self.weights_R = rows.times_B, rows.weights_B
        self.labels_R = np.where(np.isin(rows.keys_B, np.concatenate(corrected)), np.float32(1), rows.labels_B)
        self._rows = rows.without_labels()
        self._columns = {name: _Column.of(jagged) for name, jagged in rows.ids.items()}

    def __len__(self) -> int:
        return len(self.times_R)

    def places(self, task: int) -> npt.NDArray[np.int64]:
        """Numbers of the rows whose label is of this task."""
        return np.flatnonzero(self._rows.tasks_B == task)

    def of_task(self, task: int) -> ScoredRows:
        """The rows in `places`, in the same order."""
        places_R = self.places(task)
        if len(places_R) == len(self):
            return self
        labelled = replace(self.slice(0, len(self)), labels_B=self.labels_R)
        return ScoredRows([labelled.take(places_R)], int(self.times_R[0]), int(self.times_R[-1]) + 1)

    def before(self, time: int) -> int:
        """Number of rows shown before `time`."""
        return int(np.searchsorted(self.times_R, time, "left"))

    def slice(self, start: int, stop: int) -> TrainingBatch:
        """Rows `start` to `stop` (exclusive) as the model may see them: without labels."""
        return TrainingBatch(
            ids={name: column.slice(start, stop) for name, column in self._columns.items()},
            **{name: getattr(self._rows, name)[start:stop] for name in TrainingBatch.columns()},
            now=int(self.times_R[stop - 1]) if stop > start else 0,
            cursor=(),
        )


def outcomes(feed: Feed) -> Iterator[TrainingBatch]:
    """Everything in the feed's log, up to its end, with the labels that the feed's label rule comes to.

    The features are those of the impression's time: later updates of users and items don't reach back.
    """
    yield from feed.poll()
    yield from feed.finish()


def _within(batch: TrainingBatch, start: int, until: int) -> npt.NDArray[np.int64]:
    """Numbers of the rows of items shown from `start` up to `until`."""
    return np.flatnonzero((batch.times_B >= start) & (batch.times_B < until) & (batch.counted_B > 0))


_ODD = np.uint64(0x9E3779B97F4A7C15)


def _contents(rows: TrainingBatch) -> npt.NDArray[np.uint64]:
    """A hash of what the model reads from each row."""
    parts = [_Column.of(jagged).sums() for jagged in rows.ids.values()]
    parts += [column_R.view(np.uint32).astype(np.uint64) for column_R in np.ascontiguousarray(rows.numeric_BN.T)]
    contents_R = np.zeros(len(rows), np.uint64)
    for part_R in parts:
        contents_R = (contents_R + part_R) * _ODD
    return contents_R


def _no_rows() -> TrainingBatch:
    nothing: dict[str, Any] = {name: np.zeros(0, np.float32) for name in TrainingBatch.columns()}
    nothing |= {
        "numeric_BN": np.zeros((0, 0), np.float32),
        "times_B": np.zeros(0, np.int64),
        "tasks_B": np.zeros(0, np.int64),
    }
    return TrainingBatch(ids={}, **nothing, now=0, cursor=())
