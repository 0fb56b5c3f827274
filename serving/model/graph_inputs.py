"""From ids to the dense inputs of the graph, with one read of the cache for all fields.

The rows of a field are averaged; a field without ids reads zeros. Training pools with the same function.

Shape suffixes: N ids of one field, B rows (1 for the request, C candidates for items), F sparse fields, D dimension,
L items of histories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.cache.row_cache import RowCache
from serving.cache.row_store import Floats, Ids
from streaming.encode.batch import Jagged
from streaming.encode.pooling import pool_mean


@dataclass(frozen=True, slots=True)
class PooledRows:
    """Pooled rows of the request (1 x Fr x D) and of the items (C x Fi x D), and those that the graph pools itself.

    `complete` is as in `row_cache.Reading`. `history_1LD`: of the histories one after the other, zeros where one is
    shorter than it may be.
    """

    request_1FD: Floats
    items_CFD: Floats
    history_1LD: Floats
    complete: bool


@dataclass(frozen=True, slots=True)
class SparseField:
    """A sparse field of the specification: its name, and the table that its ids are looked up in.

    `length` is that of a history which the graph pools itself, 0 for other fields.
    """

    name: str
    table: str
    length: int = 0


def embed(
    cache: RowCache,
    request: tuple[Sequence[SparseField], Mapping[str, Jagged]],
    items: tuple[Sequence[SparseField], Mapping[str, Jagged]],
    candidates: int,
    dim: int,
) -> PooledRows:
    """Pooled rows of all fields, with `dim` values: zeros follow those of narrower tables, as in training.

    Fields that share a table share a look-up.
    """
    parts: dict[str, list[Ids]] = {}
    for columns, ids in (request, items):
        for column in columns:
            parts.setdefault(column.table, []).append(ids[column.name].values)
    reading = cache.read({table: _concatenate(values) for table, values in parts.items()})
    starts = dict.fromkeys(parts, 0)
    pooled = []
    histories = [np.zeros((0, dim), np.float32)]
    for (columns, ids), rows in ((request, 1), (items, candidates)):
        out_BFD = np.zeros((rows, len(columns), dim), np.float32)
        for f, column in enumerate(columns):
            jagged = ids[column.name]
            start = starts[column.table]
            starts[column.table] = end = start + len(jagged.values)
            lengths = None if jagged.single else jagged.lengths_B
            values_ND = reading.rows[column.table].values_ND[start:end]
            pool_mean(values_ND, lengths, out_BFD[:, f, : values_ND.shape[1]])
            if column.length:
                histories.append(_history(values_ND, column.length, dim))
        pooled.append(out_BFD)
    return PooledRows(pooled[0], pooled[1], np.concatenate(histories)[None], reading.complete)


def _history(values_ND: Floats, length: int, dim: int) -> Floats:
    out_LD = np.zeros((length, dim), np.float32)
    out_LD[: len(values_ND), : values_ND.shape[1]] = values_ND
    return out_LD


def _concatenate(values: Sequence[Ids]) -> Ids:
    return values[0] if len(values) == 1 else np.concatenate(values)
