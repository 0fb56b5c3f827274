"""Multiplexed rows of the local store: ids without a row of their own, of several tables, read and train them.

Suffixes: N ids of a call, U distinct rows, D dimension.
"""

from __future__ import annotations

import threading

import numpy as np

from embedding.delta.change_log import ChangeLog
from embedding.hashing import salt_of
from embedding.multiplexed import every_slot
from embedding.rows.row_block import RowBlock
from embedding.store import Floats, Ids, Index, RowNumbers, Table

_NONE = np.zeros(0, np.uint64)


class SharedRows:
    """All rows exist from the start and none is removed. Every method holds the lock; use `changes` under it.

    >>> rows = SharedRows(Table("fallback.4", dim=4, capacity=16), seed=0)
    >>> rows.read(np.array([7, 7, 9], np.int64)).shape, rows.state()[2]
    ((3, 4), 0)
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.lock = threading.Lock()
        self.changes = ChangeLog(table.capacity)
        salt = salt_of(seed, table.name)
        self._rows = RowBlock(table.capacity, table.dim, table.optimizer, salt, table.init_scale)
        slots = every_slot(table)
        self._every = slots.astype(np.int32)
        self._rows.initialise(self._every, slots)

    def read(self, slots_N: RowNumbers) -> Floats:
        """Copies of rows [N, D]."""
        with self.lock:
            return self._rows.values(slots_N.astype(np.int32))

    def scale_rate(self, factor: float) -> None:
        """As `LocalStore.scale_rates`."""
        with self.lock:
            self._rows.rate = factor

    def update(self, rows_U: Index, start: Index, members_N: Index, grads_ND: Floats) -> int:
        """One optimizer step on distinct rows, as `RowBlock.update`."""
        with self.lock:
            self.changes.mark(rows_U)
            return self._rows.update(rows_U, start, members_N, grads_ND)

    def take_changes(self, consumer: str, full: bool) -> tuple[Ids, Floats, Ids]:
        """Rows for the next delta, as `TableIds.take_changes`: ids [U], values [U, D], no removed ids."""
        with self.lock:
            rows_U, _ = self.changes.take_changes(consumer)
            if full:
                rows_U = self._every
            return rows_U.astype(np.uint64), self._rows.values(rows_U), _NONE

    def pending(self, consumer: str) -> tuple[Ids, Ids]:
        """Rows that changed since the last `take_changes`, and no removed ids."""
        with self.lock:
            return self.changes.pending(consumer)[0].astype(np.uint64), _NONE

    def resume(self, consumer: str, changed: Ids, removed: Ids) -> None:
        """Restore what `pending` returned for a consumer."""
        with self.lock:
            self.changes.listen(consumer)
            self.changes.mark_for(consumer, changed.astype(np.int32), removed)

    def state(self) -> tuple[Floats, Floats, int]:
        """Weights [R, D], optimizer states [R, W] and the number of updates."""
        with self.lock:
            return self._rows.values(self._every), self._rows.states(self._every), self._rows.step

    def restore(self, weights: Floats, states: Floats, step: int) -> None:
        """Restore what `state()` returned."""
        with self.lock:
            self._rows.put(self._every, weights, states)
            self._rows.step = step
