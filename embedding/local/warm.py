"""Compile all kernels into Numba's cache: `python -m embedding.local.warm [--clear]`."""

from __future__ import annotations

import sys
import tempfile
import time

import numpy as np

from embedding.ids.id_table import IdTable
from embedding.ids.order.waiting import HIGHEST, NewIds
from embedding.kernels import clear
from embedding.local.store import LocalStore
from embedding.rows.row_block import RowBlock
from embedding.snapshot.copy_on_write import UndoLog
from embedding.store import Admission, Ids, Optimizer, Table

DIMS = (4, 8, 16, 32, 64)
"""Dimensions that `make install` prepares; others compile when first used."""


def warm() -> float:
    """Run every kernel once; returns seconds (well under one when all were cached)."""
    begin = time.perf_counter()
    rules = (Optimizer("rowwise_adagrad"), Optimizer("adagrad"), Optimizer("adam"), Optimizer("ftrl"))
    tables = [Table(f"{rule.kind}/{dim}", dim, capacity=8, optimizer=rule, ttl=0) for dim in DIMS for rule in rules]
    counted = Table("counted", 4, capacity=8, admission=Admission("count", 2), fallback="multiplexed", ttl=0)
    store = LocalStore([*tables, counted])
    store.subscribe("warm")
    ids = np.arange(12, dtype=np.uint64)
    for now in (0, 10**7):
        for name, table in store.tables.items():
            found = store.lookup(name, np.concatenate([ids, ids + np.uint64(now)]), now)
            store.update(found, np.zeros((24, table.dim), np.float32))
            store.peek(name, ids)
        store.expire(now)
        store.acknowledge("warm", store.delta("warm").sequence)
    store.digest()
    _table(ids)
    _tiers(ids)
    return time.perf_counter() - begin


def _table(ids: Ids) -> None:
    """What a store does rarely: evict, restore, shrink, and keep rows for a snapshot."""
    table, rows = IdTable(64), RowBlock(64, 4, Optimizer(), np.uint64(0), 0.01)
    table.restore(ids, np.arange(12), np.ones(12, np.uint8))
    table.find_or_insert(ids, minute=5)
    _, freed = table.evict(2)
    NewIds(ids, np.ones(12, np.int32), np.arange(12, dtype=np.int32), np.uint64(1)).between(np.uint64(0), HIGHEST, 0)
    UndoLog(rows, 64).keep(freed)
    table.remove(ids[:2])
    list(table.shrinking())
    table.segments.resize(0, 4)
    table.segments.probe_lengths()


def _tiers(ids: Ids) -> None:
    """Rows go to disk and come back."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore([Table("tiers", 4, capacity=2, cold_capacity=16)], cold_folder=folder)
        for key in (*ids, *ids):
            store.lookup("tiers", np.array([key]), now=0)


def main() -> None:
    """The command."""
    if "--clear" in sys.argv[1:]:
        sys.stdout.write(f"{clear()} compiled files deleted\n")
    sys.stdout.write(f"compiled loops (kernels) of embedding tables ready in {warm():.1f} s\n")


if __name__ == "__main__":
    main()
