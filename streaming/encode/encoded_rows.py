"""Encoded rows on their way into batches.

Shape suffixes: B rows, N numeric fields, P partitions of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streaming.encode.batch import Jagged, TrainingBatch

_TEXTS = ("arms_B", "impressions_B")


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """A `TrainingBatch` in the making. Each row knows when its label became known and the cursor after that event,
    so that a batch's `now` and `cursor` do not depend on how the log was read.
    """

    ids: dict[str, Jagged]
    numeric_BN: npt.NDArray[np.float32]
    labels_B: npt.NDArray[np.float32]
    counted_B: npt.NDArray[np.float32]
    keys_B: npt.NDArray[np.int64]
    weights_B: npt.NDArray[np.float32]
    propensities_B: npt.NDArray[np.float32]
    times_B: npt.NDArray[np.int64]
    arms_B: npt.NDArray[np.str_]
    impressions_B: npt.NDArray[np.str_]
    decided_B: npt.NDArray[np.int64]
    cursors_BP: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels_B)

    def split(self, size: int) -> list[EncodedRows]:
        """Parts of `size` rows, the last one with what is left."""
        starts = range(0, len(self), size)
        ids = {name: _cut(jagged, size) for name, jagged in self.ids.items()}
        return [
            EncodedRows(
                {name: parts[part] for name, parts in ids.items()},
                **{name: getattr(self, name)[start : start + size] for name in _COLUMNS},
            )
            for part, start in enumerate(starts)
        ]

    @staticmethod
    def concat(parts: Sequence[EncodedRows]) -> EncodedRows:
        """One after the other. Raises ValueError when there are none."""
        if len(parts) == 1:
            return parts[0]
        ids = {name: _joined([part.ids[name] for part in parts]) for name in parts[0].ids}
        return EncodedRows(ids, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})

    def batch(self) -> TrainingBatch:
        """Raises ValueError when there are no rows: no batch ends there."""
        if not len(self):
            raise ValueError("a batch needs at least one row")
        columns: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS[:-2]}
        cursor = tuple(self.cursors_BP[-1].tolist())
        return TrainingBatch(self.ids, **columns, now=int(self.decided_B.max()), cursor=cursor)


_COLUMNS = tuple(field.name for field in fields(EncodedRows))[1:]


class _Array(msgspec.Struct, array_like=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Packed(msgspec.Struct):
    """Rows as plain data, for a state that is hashed: equal rows give equal bytes."""

    ids: dict[str, tuple[_Array, _Array]]
    columns: dict[str, _Array]
    texts: dict[str, list[str]]


def pack(rows: EncodedRows) -> Packed:
    ids = {name: (_array(jagged.values), _array(jagged.lengths_B)) for name, jagged in rows.ids.items()}
    columns = {name: _array(getattr(rows, name)) for name in _COLUMNS if name not in _TEXTS}
    return Packed(ids, columns, {name: getattr(rows, name).tolist() for name in _TEXTS})


def unpack(packed: Packed) -> EncodedRows:
    """Raises ValueError when the columns are not those of rows."""
    ids = {name: Jagged(_numpy(values), _numpy(lengths)) for name, (values, lengths) in packed.ids.items()}
    columns: dict[str, Any] = {name: _numpy(array) for name, array in packed.columns.items()}
    columns |= {name: np.array(values, np.str_) for name, values in packed.texts.items()}
    if set(columns) != set(_COLUMNS):
        raise ValueError(f"rows with columns {sorted(columns)} instead of {sorted(_COLUMNS)}")
    return EncodedRows(ids, **columns)


def _array(array: npt.NDArray[Any]) -> _Array:
    return _Array(array.dtype.str, array.shape, array.tobytes())


def _numpy(array: _Array) -> npt.NDArray[Any]:
    return (
        np.frombuffer(array.data, np.dtype(array.dtype)).reshape(array.shape).copy()
    )  # PyTorch wants arrays it may write


def _cut(jagged: Jagged, size: int) -> list[Jagged]:
    offsets = [*np.concatenate(([0], np.cumsum(jagged.lengths_B)))[::size].tolist(), len(jagged.values)]
    parts = (jagged.lengths_B[start : start + size] for start in range(0, len(jagged), size))
    return [
        Jagged(jagged.values[start:end], lengths_B)
        for start, end, lengths_B in zip(offsets, offsets[1:], parts, strict=False)
    ]


def _joined(parts: Sequence[Jagged]) -> Jagged:
    values = np.concatenate([part.values for part in parts])
    return Jagged(values, np.concatenate([part.lengths_B for part in parts]))
