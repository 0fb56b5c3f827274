"""Builds event batches from columns, for logs that are too large for one Python object per event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import KINDS
from streaming.events.schema import EVENT_SCHEMA

Ints = npt.NDArray[np.int64]


def strings(values: npt.ArrayLike, prefix: str = "") -> pa.Array:
    """Integers in decimal, each after `prefix`."""
    text = pa.array(np.asarray(values)).cast(pa.string())
    return pc.binary_join_element_wise(prefix, text, "") if prefix else text


def json_features(rows: Sequence[dict[str, Any]]) -> pa.Array:
    return pa.array([msgspec.json.encode(row) for row in rows], pa.binary())


def lists(values: pa.Array, lengths: npt.ArrayLike) -> pa.Array:
    """Cut `values` into lists of the given lengths."""
    offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def table(kind: str, **columns: Any) -> pa.Table:
    """Events of one kind. `id` and `time` are required; other columns default to null, in impressions to empty."""
    count = len(columns["time"])
    if kind == "impression":
        columns = _EMPTY | columns
    arrays = []
    for field in EVENT_SCHEMA:
        value = columns.get(field.name)
        if field.name == "kind":
            arrays.append(pa.array(np.full(count, KINDS.index(kind), np.uint8)))
        elif value is None or isinstance(value, str | bytes | list):
            arrays.append(pa.repeat(pa.scalar(value, field.type), count))
        else:
            array = value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.array(value)
            arrays.append(array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


_EMPTY: dict[str, Any] = {
    "features": b"{}",
    "item_features": b"{}",
    "scores": [],
    "propensities": [],
    "experiment": "",
    "arm": "",
    "model": "",
}


def in_time_order(*tables: pa.Table) -> pa.Table:
    """All events sorted by time; events of equal time keep the order of the tables and of their rows."""
    whole = pa.concat_tables(tables).combine_chunks()
    # A stable sort keeps the order of the concatenated tables.
    return whole.take(pa.array(np.argsort(whole["time"].to_numpy(), kind="stable")))


def batches(events: pa.Table, size: int = 16_384) -> Iterator[pa.RecordBatch]:
    yield from events.combine_chunks().to_batches(max_chunksize=size)
