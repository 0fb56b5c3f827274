"""Content hashes, which distinguish events with the same id.

Shape suffixes: N events, I ends of the items of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import IMPRESSION, kinds, times

Hashes = npt.NDArray[np.uint64]
_MIX = np.uint64(0x9E3779B97F4A7C15)


def fingerprints(events: pa.RecordBatch) -> npt.NDArray[np.uint32]:
    """Hashes [N] of time, user, item, items and value; equal content has equal ones within a process."""
    values_N = pc.fill_null(events.column("value"), 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
    mixed_N = (times(events).view(np.uint64) * _MIX) ^ values_N.view(np.uint64)
    for name in ("user", "item"):
        column = events.column(name)
        hashes_N = np.zeros(events.num_rows, np.uint64)
        if column.null_count < events.num_rows:
            hashes_N[column.is_valid().to_numpy(zero_copy_only=False)] = _hashed(column.drop_null().to_pylist())
        mixed_N = mixed_N * _MIX ^ hashes_N
    shown_N = kinds(events) == IMPRESSION
    if shown_N.any():
        mixed_N[shown_N] = mixed_N[shown_N] * _MIX ^ _lists(events.column("items").drop_null())
    found: npt.NDArray[np.uint32] = (mixed_N * _MIX >> np.uint64(32)).astype(np.uint32)
    return found


def _hashed(values: Sequence[Any]) -> Hashes:
    return np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64)


def _lists(items: pa.ListArray) -> Hashes:
    """A hash of each list: of its items' bytes and lengths, which stand together in Arrow's buffers."""
    values = items.values
    _, ends, data = values.buffers()
    begins_I = np.frombuffer(ends, np.int32)[values.offset : values.offset + len(values) + 1]
    text, lengths = data.to_pybytes() if data is not None else b"", np.diff(begins_I).tobytes()
    offsets = items.offsets.to_numpy()
    bytes_at = begins_I[offsets].tolist()
    places = offsets.tolist()
    return _hashed(
        [
            text[begin:end] + lengths[4 * first : 4 * last]
            for begin, end, first, last in zip(bytes_at, bytes_at[1:], places, places[1:], strict=False)
        ]
    )
