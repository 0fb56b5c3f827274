"""Rows to score: every item of every impression of the online stage, as known when it was shown.

Shape suffixes: R rows, N numeric fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

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

    def take(self, order_R: npt.NDArray[np.int64]) -> _Column:
        lengths_R = np.diff(self.offsets)[order_R]
        offsets = _offsets(lengths_R)
        source = np.repeat(self.offsets[order_R] - offsets[:-1], lengths_R) + np.arange(offsets[-1])
        return _Column(self.values[source], offsets)

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
        """Keep the rows shown from `start` up to, not including, `until` (event time, ms)."""
        parts = [_within(batch, start, until) for batch in batches]
        parts = [part for part in parts if len(part)]
        times_R = _joined([b.times_B for b in parts], np.int64)
        numeric_RN = np.concatenate([b.numeric_BN for b in parts]) if parts else _NOTHING_RN
        columns = {name: _column([b.ids[name] for b in parts]) for name in (parts[0].ids if parts else ())}
        order_R = np.lexsort((_contents(columns, numeric_RN), times_R))
        self.times_R = times_R[order_R]
        self.labels_R = _joined([b.labels_B for b in parts], np.float32)[order_R]
        self.weights_R = _joined([b.weights_B for b in parts], np.float32)[order_R]
        self._numeric_RN = numeric_RN[order_R]
        self._columns = {name: column.take(order_R) for name, column in columns.items()}

    def __len__(self) -> int:
        return len(self.times_R)

    def before(self, time: int) -> int:
        """Number of rows shown before `time`."""
        return int(np.searchsorted(self.times_R, time, "left"))

    def slice(self, start: int, stop: int) -> TrainingBatch:
        """Rows `start` to `stop` (exclusive) as the model may see them: without labels."""
        count = stop - start
        return TrainingBatch(
            ids={name: column.slice(start, stop) for name, column in self._columns.items()},
            numeric_BN=self._numeric_RN[start:stop],
            labels_B=np.zeros(count, np.float32),
            counted_B=np.ones(count, np.float32),
            keys_B=np.zeros(count, np.int64),
            weights_B=self.weights_R[start:stop],
            propensities_B=np.ones(count, np.float32),
            times_B=self.times_R[start:stop],
            arms_B=np.full(count, ""),
            impressions_B=np.full(count, ""),
            now=int(self.times_R[stop - 1]) if count else 0,
            cursor=(),
        )


def outcomes(feed: Feed, max_events: int = 65_536) -> Iterator[TrainingBatch]:
    """Everything in the feed's log, up to its end, with the labels that the feed's label rule comes to.

    The features are those of the impression's time: later updates of users and items don't reach back.
    """
    cursor = None
    while cursor != feed.cursor:
        cursor = feed.cursor
        yield from feed.poll(max_events)
    yield from feed.finish()


def _within(batch: TrainingBatch, start: int, until: int) -> TrainingBatch:
    chosen_B = (batch.times_B >= start) & (batch.times_B < until)
    if chosen_B.all():
        return batch
    order = np.flatnonzero(chosen_B)
    return replace(
        batch,
        ids={name: _column([ids]).take(order).slice(0, len(order)) for name, ids in batch.ids.items()},
        numeric_BN=batch.numeric_BN[order],
        labels_B=batch.labels_B[order],
        counted_B=batch.counted_B[order],
        keys_B=batch.keys_B[order],
        weights_B=batch.weights_B[order],
        propensities_B=batch.propensities_B[order],
        times_B=batch.times_B[order],
        arms_B=batch.arms_B[order],
        impressions_B=batch.impressions_B[order],
    )


_Number = TypeVar("_Number", np.int64, np.float32)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_NOTHING_RN = np.zeros((0, 0), np.float32)


def _joined(parts: list[npt.NDArray[_Number]], dtype: type[_Number]) -> npt.NDArray[_Number]:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _contents(columns: dict[str, _Column], numeric_RN: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """A hash of what the model reads from each row."""
    parts = [column.sums() for column in columns.values()]
    parts += [column_R.view(np.uint32).astype(np.uint64) for column_R in np.ascontiguousarray(numeric_RN.T)]
    contents_R = np.zeros(len(numeric_RN), np.uint64)
    for part_R in parts:
        contents_R = (contents_R + part_R) * _ODD
    return contents_R


def _column(parts: list[Jagged]) -> _Column:
    lengths = np.concatenate([part.lengths_B for part in parts])
    return _Column(np.concatenate([part.values for part in parts]), _offsets(lengths))


def _offsets(lengths: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
