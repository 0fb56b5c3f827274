"""Content hashes, which distinguish events with the same id.

Shape suffixes: N events, V those that have a value in a column, I ends of the elements of all lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import times
from streaming.events.schema import EVENT_SCHEMA

Hashes = npt.NDArray[np.uint64]
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)


def fingerprints(events: pa.RecordBatch) -> npt.NDArray[np.uint32]:
    """Hashes [N] of all that an event (`EVENT_SCHEMA`) says except its kind and id.

    Equal content has equal ones within a process; different content has equal ones with probability 2^-32.
    """
    mixed_N = times(events).view(np.uint64) * _MIX
    for name, hashes in _COLUMNS.items():
        mixed_N = (mixed_N ^ (mixed_N >> _HALF)) * _MIX
        column = events.column(name)
        if column.null_count < events.num_rows:
            present_N = column.is_valid().to_numpy(zero_copy_only=False)
            mixed_N[present_N] ^= hashes(column.drop_null() if column.null_count else column)
    found: npt.NDArray[np.uint32] = ((mixed_N ^ (mixed_N >> _HALF)) * _MIX >> _HALF).astype(np.uint32)
    return found


def _hashed(values: Sequence[Any]) -> Hashes:
    return np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64)


def _texts(column: pa.Array) -> Hashes:
    return _hashed(column.to_pylist())


def _names(column: pa.Array) -> Hashes:
    """As `_texts`, for columns in which few different texts occur."""
    encoded = column.dictionary_encode()
    hashes_V: Hashes = _texts(encoded.dictionary)[encoded.indices.to_numpy()]
    return hashes_V


def _numbers(column: pa.Array) -> Hashes:
    values_V = np.asarray(column.to_numpy() + 0.0, np.float64)  # -0.0 is 0.0
    return values_V.view(np.uint64) * _MIX


def _number_lists(column: pa.ListArray) -> Hashes:
    if not len(column.values):
        return np.zeros(len(column), np.uint64)
    data = (column.values.to_numpy() + 0.0).tobytes()
    ends = (8 * column.offsets.to_numpy()).tolist()
    return _hashed([data[begin:end] for begin, end in pairwise(ends)])


def _text_lists(column: pa.ListArray) -> Hashes:
    """A hash of each list: of its texts' bytes and lengths, which stand together in Arrow's buffers."""
    values = column.values
    _, ends, data = values.buffers()
    begins_I = np.frombuffer(ends, np.int32)[values.offset : values.offset + len(values) + 1]
    text, lengths = data.to_pybytes() if data is not None else b"", np.diff(begins_I).tobytes()
    offsets = column.offsets.to_numpy()
    bytes_at = begins_I[offsets].tolist()
    places = offsets.tolist()
    return _hashed(
        [
            text[begin:end] + lengths[4 * first : 4 * last]
            for begin, end, first, last in zip(bytes_at, bytes_at[1:], places, places[1:], strict=False)
        ]
    )


_FEW: Final = ("action", "experiment", "arm", "model")


def _hashes_of(field: pa.Field) -> Callable[[pa.Array], Hashes]:
    if pa.types.is_list(field.type):
        return _text_lists if pa.types.is_string(field.type.value_type) else _number_lists
    if pa.types.is_floating(field.type):
        return _numbers
    return _names if field.name in _FEW else _texts


_COLUMNS: Final = {field.name: _hashes_of(field) for field in EVENT_SCHEMA if field.name not in ("kind", "id", "time")}
"""How each column is hashed: a column that is added to the schema counts, too."""
