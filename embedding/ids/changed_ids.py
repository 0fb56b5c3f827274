"""The ids of a table, their rows, and which of them changed since a consumer's last delta.

Suffixes: N ids of a call, U distinct ids, D dimension.
"""

from __future__ import annotations

import threading

import numpy as np

from embedding.delta.change_log import ChangeLog
from embedding.ids.id_table import IdTable
from embedding.ids.packed import rows_of
from embedding.lazy_arrays import lazy_zeros
from embedding.rows.row_block import RowMemory
from embedding.store import Floats, Ids, Index, Table


class ChangedIds:
    """What deltas are made of. Every public method holds the table's lock.

    >>> from embedding.rows.row_block import RowBlock
    >>> table = Table("item", dim=4, capacity=8)
    >>> own = ChangedIds(table, RowBlock(8, 4, table.optimizer, np.uint64(0), 0.01), IdTable(8))
    >>> own.resume("redis", changed=np.zeros(0, np.uint64), removed=np.array([7], np.uint64))
    >>> [len(part) for part in own.take_changes("redis", full=False)]
    [0, 0, 1]
    """

    def __init__(self, table: Table, rows: RowMemory, ids: IdTable) -> None:
        self.table, self.rows, self.ids = table, rows, ids
        self.lock = threading.RLock()
        self.changes = ChangeLog(table.capacity)
        self._id_of_row = lazy_zeros(table.capacity, np.uint64)

    def take_changes(self, consumer: str, full: bool) -> tuple[Ids, Floats, Ids]:
        """Changed ids [U], their values [U, D] and removed ids, for the next delta; clears the consumer's marks."""
        with self.lock:
            rows, removed = self.changes.take_changes(consumer)
            if full:
                rows, removed = self._all_places(), np.zeros(0, np.uint64)
            return *self._at(rows), removed[self._place_of(removed) < 0]

    def pending(self, consumer: str) -> tuple[Ids, Ids]:
        """Ids that changed and ids that were removed since the last `take_changes`."""
        with self.lock:
            rows, removed = self.changes.pending(consumer)
            return self._ids_at(rows), removed[self._place_of(removed) < 0]

    def resume(self, consumer: str, changed: Ids, removed: Ids) -> None:
        """Restore what `pending` returned for a consumer."""
        with self.lock:
            self.changes.listen(consumer)
            self.changes.mark_for(consumer, self._place_of(changed), removed)

    def _place_of(self, ids_N: Ids) -> Index:
        """Where the change log marks ids [N], -1 for an id without a row: at their rows."""
        return self.ids.find(ids_N)

    def _all_places(self) -> Index:
        return rows_of(self.ids.entries()[1])

    def _ids_at(self, places: Index) -> Ids:
        return self._id_of_row[places]

    def _at(self, places: Index) -> tuple[Ids, Floats]:
        """The ids and values at these places."""
        return self._id_of_row[places], self.rows.values(places)
