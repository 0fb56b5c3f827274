"""Training rows in columns, one row per shown item and task.

Shape suffixes: B rows, N numeric fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from streaming.log.event_log import Cursor

Ids = npt.NDArray[np.uint64]
Order = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Jagged:
    """Ids of one field: `lengths_B[b]` of them belong to row b. Categorical fields have one each."""

    values: Ids
    lengths_B: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.lengths_B)

    @property
    def single(self) -> bool:
        """Whether every row has exactly one id."""
        return len(self.values) == len(self.lengths_B) and bool((self.lengths_B == 1).all())

    def take(self, order: Order) -> Jagged:
        """The rows with these numbers, in this order; a number may occur several times."""
        lengths_B = self.lengths_B[order]
        if self.single:
            return Jagged(self.values[order], lengths_B)
        starts_B = (np.cumsum(self.lengths_B, dtype=np.int64) - self.lengths_B)[order]
        shift_B = starts_B - (np.cumsum(lengths_B, dtype=np.int64) - lengths_B)
        at = np.arange(lengths_B.sum(dtype=np.int64)) + np.repeat(shift_B, lengths_B)
        return Jagged(self.values[at], lengths_B)

    @staticmethod
    def concat(parts: Sequence[Jagged]) -> Jagged:
        """Concatenate parts; at least one."""
        values = np.concatenate([part.values for part in parts])
        return Jagged(values, np.concatenate([part.lengths_B for part in parts]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRows:
    """What training needs to know of each row."""

    ids: dict[str, Jagged]
    """By field name, categorical and multi-valued fields of the feature specification, in its order."""
    numeric_BN: npt.NDArray[np.float32]
    """Not scaled yet (see `streaming.encode.scaling`); NaN where a number is missing that will be."""
    labels_B: npt.NDArray[np.float32]
    counted_B: npt.NDArray[np.float32]
    """1 for a row that brings its shown item in, 0 for one that corrects the label it came in with."""
    keys_B: npt.NDArray[np.int64]
    """The shown item and task: equal for the row that brought them in and the one that corrects it, else different."""
    tasks_B: npt.NDArray[np.int64]
    """Number of the task that the label is of."""
    weights_B: npt.NDArray[np.float32]
    """The factor of the row's loss."""
    propensities_B: npt.NDArray[np.float32]
    """The logged propensity of the row, 1.0 where the log has none."""
    positions_B: npt.NDArray[np.int32]
    """The position in the impression that the item was shown at, from 0; -1 where it is not known."""
    times_B: npt.NDArray[np.int64]
    """Event time of the impression, ms."""

    def __len__(self) -> int:
        return len(self.labels_B)

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Names of the arrays with one entry per row; `ids` is not one of them."""
        return tuple(field.name for field in fields(cls) if field.name.rpartition("_")[2].startswith("B"))

    @classmethod
    def concatenated(cls, parts: Sequence[TrainingRows]) -> dict[str, Any]:
        """`ids` and the columns of `cls`, concatenated over the parts; at least one part."""
        ids = {name: Jagged.concat([part.ids[name] for part in parts]) for name in parts[0].ids}
        return {"ids": ids} | {name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.columns()}

    def take(self, order: Order) -> Self:
        """The rows with these numbers, in this order."""
        ids = {name: jagged.take(order) for name, jagged in self.ids.items()}
        columns: dict[str, Any] = {name: getattr(self, name)[order] for name in self.columns()}
        return replace(self, ids=ids, **columns)

    def cut(self, size: int, first: int = 0) -> Iterator[Self]:
        """Parts of `size` rows from row `first` on, the last one with fewer; they share the memory of these rows."""
        offsets = {name: np.concatenate([[0], np.cumsum(jagged.lengths_B)]) for name, jagged in self.ids.items()}
        for start in range(first, len(self), size):
            stop = min(start + size, len(self))
            ids = {
                name: Jagged(jagged.values[offsets[name][start] : offsets[name][stop]], jagged.lengths_B[start:stop])
                for name, jagged in self.ids.items()
            }
            yield replace(self, ids=ids, **{name: getattr(self, name)[start:stop] for name in self.columns()})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch(TrainingRows):
    """The rows of one step, in the order in which their labels became known."""

    now: int
    """Event time (ms) at which the last of the labels became known."""
    cursor: Cursor
    """The cursor after the event that completed the batch (see `Feed`)."""
    clock: int = 0
    """The newest event time (ms) up to that event, which may be after `now`."""

    @staticmethod
    def concat(parts: Sequence[TrainingBatch]) -> TrainingBatch:
        """Concatenate batches, with the cursor of the last. Raises ValueError for none."""
        if not parts:
            raise ValueError("a batch needs at least one row")
        now, last = max(part.now for part in parts), parts[-1]
        return TrainingBatch(**TrainingBatch.concatenated(parts), now=now, cursor=last.cursor, clock=last.clock)

    def without_labels(self) -> TrainingBatch:
        """The same rows as a model may see them before their labels are known: every label is 0."""
        return replace(self, labels_B=np.zeros_like(self.labels_B))
