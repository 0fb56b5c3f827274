"""Encoded rows on their way into batches.

Shape suffixes: B rows, P partitions of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.errors import StateError
from streaming.encode.batch import Jagged, TrainingBatch, TrainingRows


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRows(TrainingRows):
    """Rows of batches to come. Each row knows when its label became known, and the cursor and clock after that event,
    so that a batch's `now`, `cursor` and `clock` do not depend on how the log was read.
    """

    decided_B: npt.NDArray[np.int64]
    cursors_BP: npt.NDArray[np.int64]
    clocks_B: npt.NDArray[np.int64]

    def split(self, size: int) -> list[EncodedRows]:
        """Parts of `size` rows, the last one with what is left."""
        ids = {name: _cut(jagged, size) for name, jagged in self.ids.items()}
        parts = []
        for part, start in enumerate(range(0, len(self), size)):
            columns = {name: getattr(self, name)[start : start + size] for name in self.columns()}
            parts.append(EncodedRows(ids={name: cut[part] for name, cut in ids.items()}, **columns))
        return parts

    @staticmethod
    def concat(parts: Sequence[EncodedRows]) -> EncodedRows:
        """Concatenate parts. Raises ValueError for none."""
        if len(parts) == 1:
            return parts[0]
        return EncodedRows(**EncodedRows.concatenated(parts))

    def batch(self) -> TrainingBatch:
        """Raises ValueError when there are no rows: no batch ends there."""
        if not len(self):
            raise ValueError("a batch needs at least one row")
        columns: dict[str, Any] = {name: getattr(self, name) for name in TrainingBatch.columns()}
        now, clock, cursor = int(self.decided_B.max()), int(self.clocks_B[-1]), tuple(self.cursors_BP[-1].tolist())
        return TrainingBatch(ids=self.ids, **columns, now=now, clock=clock, cursor=cursor)


class _Array(msgspec.Struct, array_like=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Packed(msgspec.Struct):
    """Rows as plain data, for a state that is hashed: equal rows give equal bytes."""

    ids: dict[str, tuple[_Array, _Array]]
    columns: dict[str, _Array]


def pack(rows: EncodedRows) -> Packed:
    ids = {name: (_array(jagged.values), _array(jagged.lengths_B)) for name, jagged in rows.ids.items()}
    return Packed(ids, {name: _array(getattr(rows, name)) for name in rows.columns()})


def unpack(packed: Packed) -> EncodedRows:
    """Raises StateError when the columns are not those of `EncodedRows`."""
    ids = {name: Jagged(_numpy(values), _numpy(lengths)) for name, (values, lengths) in packed.ids.items()}
    columns: dict[str, Any] = {name: _numpy(array) for name, array in packed.columns.items()}
    if "decided_B" in columns:
        columns.setdefault("clocks_B", columns["decided_B"])  # an earlier release has no clocks
    if set(columns) != set(EncodedRows.columns()):
        raise StateError(f"rows with columns {sorted(columns)} instead of {sorted(EncodedRows.columns())}")
    return EncodedRows(ids=ids, **columns)


def _array(array: npt.NDArray[Any]) -> _Array:
    return _Array(array.dtype.str, array.shape, array.tobytes())


def _numpy(array: _Array) -> npt.NDArray[Any]:
    """A copy, because PyTorch takes no read-only arrays."""
    return np.frombuffer(array.data, np.dtype(array.dtype)).reshape(array.shape).copy()


def _cut(jagged: Jagged, size: int) -> list[Jagged]:
    offsets = [*np.concatenate(([0], np.cumsum(jagged.lengths_B)))[::size].tolist(), len(jagged.values)]
    parts = (jagged.lengths_B[start : start + size] for start in range(0, len(jagged), size))
    return [
        Jagged(jagged.values[start:end], lengths_B)
        for start, end, lengths_B in zip(offsets, offsets[1:], parts, strict=False)
    ]
