"""One table of the local store: the life of its ids, and rows in this process's memory.

Suffixes: N ids of a call, U distinct ids, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embedding.hashing import fallback_slots, salt_of
from embedding.ids.id_lifecycle import PART, DistinctIds, TableIds
from embedding.kernels import dedup
from embedding.local.shared_rows import SharedRows
from embedding.multiplexed import FALLBACK_ROWS
from embedding.rows.row_block import RowBlock
from embedding.snapshot.copy_on_write import UndoLog
from embedding.snapshot.snapshot import Part, TableStream
from embedding.store import Floats, Ids, Index, Lookup, Table


@dataclass(frozen=True, slots=True)
class LocalLookup(Lookup):
    """A look-up that remembers its distinct ids, so that the update need not find them again.

    >>> found = LocalTable(Table("item", dim=4), seed=0, fallback=None).lookup(np.array([7, 8, 7], np.uint64), now=0)
    >>> found.batch.counts_U.tolist(), found.rows_U.tolist()
    ([2, 1], [0, 1])
    """

    batch: DistinctIds
    rows_U: Index
    owner: object
    removals: int
    """The table that made it, and its removals then: rows_U is good there as long as there was none since."""


class LocalTable(TableIds):
    """Rows of one table. Every public method holds the table's lock, so a reader never sees half a row.

    >>> table = LocalTable(Table("item", dim=4), seed=0, fallback=None)
    >>> table.update(table.lookup(np.array([7, 8, 7], np.uint64), now=0), np.ones((3, 4), np.float32))
    >>> table.counters()["live"]
    2
    """

    rows: RowBlock

    def __init__(self, table: Table, seed: int, fallback: SharedRows | None, threads: int = 1) -> None:
        salt = salt_of(seed, table.name)
        rows = RowBlock(table.capacity, table.dim, table.optimizer, salt, table.init_scale)
        super().__init__(table, seed, rows, threads)
        self._fallback = fallback

    def lookup(self, ids_N: Ids, now: int) -> Lookup:
        with self.lock:
            return self._read(ids_N, *self.lookup_and_touch(ids_N, now))

    def peek(self, ids_N: Ids) -> Lookup:
        with self.lock:
            batch = self.batch(ids_N)
            return self._read(ids_N, batch, self.ids.find(batch.unique_U))

    def _read(self, ids_N: Ids, batch: DistinctIds, rows_U: Index) -> Lookup:
        rows_N, values_ND = self.rows.gather(rows_U, batch.inverse_N)
        if self._fallback is not None:
            lost = rows_N < 0
            if lost.any():
                values_ND[lost] = self._fallback.read(fallback_slots(ids_N[lost], self._salt, FALLBACK_ROWS))
        return LocalLookup(self.table.name, ids_N, rows_N, values_ND, batch, rows_U, self, self._removals)

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        with self.lock:
            batch, rows_U = self._current(lookup)
            start, members_N = np.empty(len(rows_U) + 1, np.int32), np.empty(len(lookup.ids_N), np.int32)
            dedup.group(batch.inverse_N, batch.counts_U, start, members_N)
            if (rows_U >= 0).any():
                if self._undo is not None:
                    self._undo.keep(rows_U)
                self.rows.update(rows_U, start, members_N, grads_ND)
                self.changes.mark(rows_U)
            if self._fallback is not None:
                self._update_fallback(lookup, grads_ND)

    def _current(self, lookup: Lookup) -> tuple[DistinctIds, Index]:
        """The look-up's distinct ids and their rows now; those that went since are counted and not trained."""
        if isinstance(lookup, LocalLookup):
            if lookup.owner is self and lookup.removals == self.removals:
                return lookup.batch, lookup.rows_U
            batch = lookup.batch
        else:
            batch = self.batch(lookup.ids_N)
        had_U = np.zeros(len(batch.unique_U), bool)
        had_U[batch.inverse_N] = lookup.rows_N >= 0
        return batch, self.revalidate(batch, had_U)

    def _update_fallback(self, lookup: Lookup, grads_ND: Floats) -> None:
        lost = lookup.rows_N < 0
        if self._fallback is not None and lost.any():
            slots = fallback_slots(lookup.ids_N[lost], self._salt, FALLBACK_ROWS).view(np.uint64)
            batch = self.batch(slots)
            start, members = np.empty(len(batch.unique_U) + 1, np.int32), np.empty(len(slots), np.int32)
            dedup.group(batch.inverse_N, batch.counts_U, start, members)
            self._fallback.update(batch.unique_U.astype(np.int32), start, members, grads_ND[lost])

    def stream(self) -> TableStream:
        """The table as it is now, to be read in parts while it changes. Only one stream at a time."""
        with self.lock:
            if self._undo is not None:
                raise ValueError(f"table {self.table.name!r} is being saved: wait for that snapshot to end")
            ids_U, packed_U = self.ids.entries()
            undo = self._undo = UndoLog(self.rows, self.table.capacity)
            counters, gate = dict(self._counters), dict(self._policy.state())
            origin = int(self.ids.minute(np.zeros(1, np.uint64))[0])  # moves when time goes on by decades
            parts = self._parts(ids_U, packed_U, origin, undo)
            widths = self.rows.dim, self.rows.width
            return TableStream(len(ids_U), *widths, self.rows.step, self._draws, counters, gate, parts)

    def _parts(self, ids_U: Ids, packed_U: Ids, origin: int, undo: UndoLog) -> Iterator[Part]:
        order = np.argsort(packed_U)  # by row
        minutes_U = ((packed_U >> np.uint64(8)) & np.uint64(0xFFFFFF)).astype(np.int64) + origin
        freqs_U = (packed_U & np.uint64(0xFF)).astype(np.uint8)
        try:
            for begin in range(0, len(order), PART):
                part = order[begin : begin + PART]
                rows = (packed_U[part] >> np.uint64(32)).astype(np.int32)
                with self.lock:
                    weights, states = undo.read(rows)
                yield ids_U[part], minutes_U[part], freqs_U[part], weights, states
        finally:
            self._undo = None

    def close_stream(self) -> None:
        """Stop keeping old rows, whether or not the stream was read to its end."""
        with self.lock:
            self._undo = None
