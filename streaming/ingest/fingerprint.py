"""What tells two events of one id apart.

Shape suffixes: N events, I items of all of them.
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
        if events.column(name).null_count < events.num_rows:
            mixed_N = mixed_N * _MIX ^ _hashed(events.column(name).to_pylist())
    shown_N = kinds(events) == IMPRESSION
    if shown_N.any():
        mixed_N[shown_N] = mixed_N[shown_N] * _MIX ^ _lists(events.column("items").drop_null())
    found: npt.NDArray[np.uint32] = (mixed_N * _MIX >> np.uint64(32)).astype(np.uint32)
    return found


def _hashed(values: Sequence[Any]) -> Hashes:
    return np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64)


def _lists(items: pa.ListArray) -> Hashes:
    """A hash of each list: its items weighed with powers by their place in the order, and summed."""
    offsets = items.offsets.to_numpy().astype(np.intp)
    hashes_I = _hashed(items.values.slice(offsets[0], offsets[-1] - offsets[0]).to_pylist())
    places_I = np.arange(len(hashes_I)) - np.repeat(offsets[:-1] - offsets[0], np.diff(offsets))
    weighed_I = hashes_I * (_MIX + np.uint64(2) * places_I.astype(np.uint64))
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(weighed_I, dtype=np.uint64)])
    found: Hashes = ends[offsets[1:] - offsets[0]] - ends[offsets[:-1] - offsets[0]]
    return found
