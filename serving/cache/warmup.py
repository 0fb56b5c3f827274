"""Warm-up: the row cache's compiled code is loaded before the first request needs it.

Compiled functions are read from disk at their first call, which takes longer than a request may. Each is loaded for one
type of array, so the changes here pass through messages, as a trainer's do.

Shape suffix: N ids.
"""

from __future__ import annotations

import functools

import numpy as np

from embedding.store import Delta, TableDelta
from serving.cache.row_cache import RowCache
from serving.cache.row_store import MemoryRows
from serving.replication import delta_messages

_CAPACITY = 2048
_TABLE = "warm-up"


@functools.cache
def warm_up() -> None:
    """Exercise a cache once per process: insert, grow, exchange generations, apply changes."""
    cache = RowCache(MemoryRows({_TABLE: 1}), _CAPACITY)
    halves = np.split(np.arange(_CAPACITY, dtype=np.uint64), 2)
    for ids_N in (*halves, halves[0]):  # inserted, inserted in the next generation, moved from the old one to the young
        cache.read({_TABLE: ids_N})
    change = TableDelta(halves[0], np.ones((len(halves[0]), 1), np.float32), halves[1])
    for message in delta_messages.messages(Delta(1, False, {_TABLE: change}), previous=0):
        if isinstance(message, delta_messages.Change):
            cache.apply(message.table, message.arrays())
