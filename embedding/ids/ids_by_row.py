"""The ids of a table as TorchRec's checkpoints hold them: by row. Suffixes: R rows, U distinct ids."""

from __future__ import annotations

from collections import Counter

import numpy as np

from embedding.ids.admission import PolicyState
from embedding.ids.id_lifecycle import TableIds
from embedding.ids.id_table import IdTable
from embedding.ids.packed import Entries, LastSeen
from embedding.store import Ids


class IdsByRow(TableIds):
    """A `TableIds` that is saved and restored by row, without the values of its rows.

    >>> from embedding.rows.row_block import RowBlock
    >>> from embedding.store import Table
    >>> table = Table("item", dim=4, capacity=2)
    >>> ids = IdsByRow(table, 0, RowBlock(2, 4, table.optimizer, np.uint64(0), 0.01))
    >>> _ = ids.lookup_and_touch(np.array([7], np.uint64), now=0)
    >>> [column.tolist() for column in ids.by_row()]
    [[7, 0], [1, 0]]
    """

    def by_row(self) -> tuple[Ids, LastSeen]:
        """The id of each row and when it was last seen [R]; 0 for free rows."""
        with self.lock:
            ids_U, packed_U = self.ids.entries()
            entries = self.ids.unpack(packed_U)
            ids_R = np.zeros(self.table.capacity, np.uint64)
            ids_R[entries.rows_U] = ids_U
            return ids_R, entries.by_row(self.table.capacity)

    def candidates(self) -> PolicyState:
        """The admission policy's counts of ids that have no row."""
        with self.lock:
            return self._policy.state()

    def restore_from_rows(self, ids_R: Ids, seen_R: LastSeen, candidates: PolicyState, evicted: int = 0) -> None:
        """Restore what `by_row` and `candidates` returned, dropping all other ids. Values of rows are not changed.

        `evicted` ids for which there was no room are counted.
        """
        with self.lock:
            seen = Entries.seen(seen_R)
            self._clock.restore(seen.minutes_U)
            self.ids = IdTable(self.table.capacity)
            if len(seen.minutes_U):
                self.ids.span(int(seen.minutes_U.min()), int(seen.minutes_U.max()))
            self.ids.reserve_rows(seen.rows_U)
            self.ids.restore(ids_R[seen.rows_U], seen.minutes_U, seen.freqs_U)
            self.ids.reserve_rows(np.flatnonzero(seen_R == 0))
            self._id_of_row[:] = ids_R
            self._counters = Counter(admitted=len(seen.rows_U) + evicted, evicted=evicted)
            if candidates:
                self._policy.restore(candidates)
            self._removals += 1
