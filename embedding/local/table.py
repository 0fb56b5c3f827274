"""One table of the local store: the life of its ids, and rows in this process's memory.

Suffixes: N ids of a call, U distinct ids, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from embedding.delta.change_log import Bitmap, is_marked
from embedding.hashing import fallback_slots, salt_of
from embedding.ids.admission import Mask
from embedding.ids.distinct_ids import DistinctIds
from embedding.ids.id_lifecycle import PART, TableIds
from embedding.ids.packed import Entries
from embedding.local.shared_rows import SharedRows
from embedding.rows.row_block import RowBlock
from embedding.snapshot.arriving import Rooms
from embedding.snapshot.copy_on_write import UndoLog
from embedding.snapshot.increments import size
from embedding.snapshot.store_state import TableStream
from embedding.store import Floats, Ids, Index, Lookup, RowNumbers, Table
from embedding.table_state import Columns
from recsys.errors import InvalidValueError

SNAPSHOT = " snapshot"
"""In the log of changes: those since the last snapshot. No consumer of deltas."""
ReadRows = Callable[[Index], tuple[Floats, Floats]]
"""Weights [U, D] and optimizer states [U, W] of ascending rows [U]."""


@dataclass(frozen=True, slots=True)
class LocalLookup(Lookup):
    """A look-up that keeps its distinct ids, so that the update need not find them again.

    >>> found = LocalTable(Table("item", dim=4), seed=0, shared=None).lookup(np.array([7, 8, 7], np.uint64), now=0)
    >>> found.distinct.counts_U.tolist(), found.rows_U.tolist()
    ([2, 1], [0, 1])
    """

    distinct: DistinctIds
    rows_U: Index
    owner: object
    """The table that made the look-up."""
    removals: int
    """The table's `removals` at that time: rows_U is valid while it stays the same."""


class LocalTable(TableIds):
    """Rows of one table. Every public method holds the table's lock, so that a reader never sees a row half written.

    >>> table = LocalTable(Table("item", dim=4), seed=0, shared=None)
    >>> table.update(table.lookup(np.array([7, 8, 7], np.uint64), now=0), np.ones((3, 4), np.float32))
    >>> table.counters()["live"]
    2
    """

    rows: RowBlock

    def __init__(self, table: Table, seed: int, shared: SharedRows | None, threads: int = 1) -> None:
        salt = salt_of(seed, table.name)
        rows = RowBlock(table.capacity, table.dim, table.optimizer, salt, table.init_scale)
        super().__init__(table, seed, rows, threads)
        self._shared = shared
        self._undo: UndoLog | None = None
        self._notes_changes = False

    def lookup(self, ids_N: Ids, now: int) -> Lookup:
        """As `EmbeddingStore.lookup`."""
        with self.lock:
            return self._read(ids_N, *self.lookup_and_touch(ids_N, now))

    def peek(self, ids_N: Ids) -> Lookup:
        """As `EmbeddingStore.peek`."""
        with self.lock:
            distinct = self.distinct(ids_N)
            return self._read(ids_N, distinct, self.ids.find(distinct.unique_U))

    def _read(self, ids_N: Ids, distinct: DistinctIds, rows_U: Index) -> Lookup:
        rows_N, values_ND = self.rows.gather(rows_U, distinct.inverse_N)
        if self._shared is not None:
            without_N = rows_N < 0
            if without_N.any():
                values_ND[without_N] = self._shared.read(self._slots(ids_N[without_N]))
        return LocalLookup(self.table.name, ids_N, rows_N, values_ND, distinct, rows_U, self, self._removals)

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        """As `EmbeddingStore.update`."""
        with self.lock:
            distinct, rows_U = self._current(lookup)
            start, members_N = distinct.groups()
            if self._before_write is not None:
                self._before_write(rows_U)
            self.count_nonfinite(self.rows.update(rows_U, start, members_N, grads_ND))
            self.changes.mark(rows_U)
            if self._shared is not None:
                self._update_shared(self._shared, lookup, grads_ND)

    def scale_rate(self, factor: float) -> None:
        """As `LocalStore.scale_rates`."""
        with self.lock:
            self.rows.rate = factor

    def _current(self, lookup: Lookup) -> tuple[DistinctIds, Index]:
        """The look-up's distinct ids and their present rows; ids that lost their row are counted and not trained."""
        if isinstance(lookup, LocalLookup):
            if lookup.owner is self and lookup.removals == self.removals:
                return lookup.distinct, lookup.rows_U
            distinct = lookup.distinct
        else:
            distinct = self.distinct(lookup.ids_N)
        had_U = np.zeros(len(distinct.unique_U), bool)
        had_U[distinct.inverse_N] = lookup.rows_N >= 0
        return distinct, self.revalidate(distinct, had_U)

    def _slots(self, ids_N: Ids) -> RowNumbers:
        """Their multiplexed rows."""
        return fallback_slots(ids_N, self._salt, self.table.fallback_rows)

    def _update_shared(self, shared: SharedRows, lookup: Lookup, grads_ND: Floats) -> None:
        without_N = lookup.rows_N < 0
        slots = self._slots(lookup.ids_N[without_N]).view(np.uint64)
        distinct = self.distinct(slots)
        skipped = shared.update(distinct.unique_U.astype(np.int32), *distinct.groups(), grads_ND[without_N])
        self.count_nonfinite(skipped)

    def note_changes(self) -> None:
        """Keep which rows change, for increments, from the next `stream` on."""
        with self.lock:
            if not self._notes_changes:
                self.changes.listen(SNAPSHOT)
                self._notes_changes = True

    def sizes(self) -> tuple[int, int]:
        """Bytes of the table in a full snapshot, and in one of what changed since the last `stream`."""
        with self.lock:
            rows, of_row = self.counters()["live"], (self.rows.dim, self.rows.width)
            return size(rows, rows, *of_row), size(rows, self.changes.changed(SNAPSHOT), *of_row)

    def stream(self, *, increment: bool = False) -> TableStream:
        """The table as it is now, to be read in parts while it changes; as an `increment` without what has not changed.

        Raises InvalidValueError while another stream is open.
        """
        with self.lock:
            if self._undo is not None:
                raise InvalidValueError(f"table {self.table.name!r} is being saved: wait for that snapshot to end")
            marks = self.changes.take_marks(SNAPSHOT) if self._notes_changes else None
            rows, changed, parts = self._frozen(marks if increment else None)
            sizes = rows, self.rows.dim, self.rows.width
            policy = [dict(self._policy.state())]
            counted = self.rows.step, self._lookups, dict(self._counters)
            return TableStream(*sizes, *counted, policy, self._until_closed(parts), changed if increment else None)

    @property
    def is_new(self) -> bool:
        """Whether nothing was learned or counted yet, so that no id has had a row."""
        return self.ids.rows_given == 0 and self._lookups == 0

    def rooms(self) -> Rooms:
        """Of a new table: the memory of its rows, by the names that a snapshot gives to what is in it.

        The first id that it restores has the first row, and so on.
        """
        return {"weights": self.rows.weights, "state": self.rows.state}

    def _frozen(self, marks: Bitmap | None) -> tuple[int, int, Iterator[Columns]]:
        """How many rows there are and are marked, and the rows as they are now, in parts; until then old ones are kept.

        With `marks` the parts have the values of marked rows only.
        """
        ids_U, packed_U = self.ids.entries()
        undo = self._undo = UndoLog(self.rows, self.table.capacity)
        self._before_write = undo.keep
        entries = self.ids.unpack(packed_U)
        marked_U = None if marks is None else is_marked(marks, entries.rows_U)
        return len(ids_U), count_marked(marked_U), self._parts(ids_U, entries, undo.read, marked_U)

    def _parts(self, ids_U: Ids, entries: Entries, read: ReadRows, marked_U: Mask | None) -> Iterator[Columns]:
        order = np.argsort(entries.rows_U)
        for begin in range(0, len(order), PART):
            part = order[begin : begin + PART]
            valued = part if marked_U is None else part[marked_U[part]]
            with self.lock:
                values = read(entries.rows_U[valued])
            mask = () if marked_U is None else (marked_U[part].view(np.uint8),)
            yield ids_U[part], entries.minutes_U[part], entries.freqs_U[part], *values, *mask

    def _until_closed(self, parts: Iterator[Columns]) -> Iterator[Columns]:
        try:
            yield from parts
        finally:
            self.close_stream()

    def close_stream(self) -> None:
        """Stop keeping old rows, whether or not the stream was read to its end."""
        with self.lock:
            self._undo, self._before_write = None, None


def count_marked(marked_U: Mask | None) -> int:
    """How many ids are marked; 0 where none of them can be."""
    return 0 if marked_U is None else int(np.count_nonzero(marked_U))
