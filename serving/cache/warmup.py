"""The row cache's compiled code, loaded before the first request needs it.

Compiled functions are read from disk when they are first called, which takes longer than a request may. Each is loaded
for one kind of array, so the changes here come over the wire, as those of a trainer do.

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
_TABLE = "rehearsal"


@functools.cache
def warm_up() -> None:
    """Take a cache through all that it does: keep, grow, exchange generations, take over changes. Once a process."""
    cache = RowCache(MemoryRows(1), _CAPACITY)
    halves = np.split(np.arange(_CAPACITY, dtype=np.uint64), 2)
    for ids_N in (*halves, halves[0]):  # kept, kept in the next generation, moved from the old one to the young
        cache.read({_TABLE: ids_N})
    change = TableDelta(halves[0], np.ones((len(halves[0]), 1), np.float32), halves[1])
    for message in delta_messages.messages(Delta(1, False, {_TABLE: change}), previous=0):
        if isinstance(message, delta_messages.Change):
            cache.apply(message.table, message.arrays())
