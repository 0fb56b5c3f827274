"""One table of the local store that has more rows than memory holds: the others wait on disk until they are looked up.

It does what a table of `total_capacity` rows in memory would do, bit for bit; which rows are on disk, nobody sees.
Suffixes: N ids of a call, U distinct ids, B ids that come back, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedding.argument_checks import BULK, MAX_FREQUENCY, MINUTE, check_fits
from embedding.cold.cold_tier import ColdTier
from embedding.delta.change_log import Bitmap, ChangeLog, is_marked
from embedding.ids.admission import Mask
from embedding.ids.distinct_ids import DistinctIds
from embedding.ids.id_lifecycle import PART
from embedding.ids.id_table import IdTable
from embedding.ids.packed import Entries
from embedding.local.shared_rows import SharedRows
from embedding.local.table import LocalTable, count_marked
from embedding.mapped_arrays import mapped_zeros
from embedding.snapshot.arriving import Rooms
from embedding.store import Floats, Ids, Index, Lookup, Table
from embedding.table_state import Columns, TableState


class TieredTable(LocalTable):
    """A `LocalTable` with `cold_capacity` rows in files of `folder`. Raises FileError if they cannot be made.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = TieredTable(Table("item", 4, capacity=2, cold_capacity=8), 0, None, Path(folder))
    ...     for key in range(5):
    ...         _ = table.lookup(np.array([key], np.uint64), now=0)
    ...     counters = table.counters()
    >>> counters["live"], counters["rows"], counters["cold"]
    (5, 2, 3)
    """

    def __init__(self, table: Table, seed: int, shared: SharedRows | None, folder: Path, threads: int = 1) -> None:
        super().__init__(table, seed, shared, threads)
        self._cold = ColdTier(table, folder, self.rows.width)
        self.changes = ChangeLog(table.capacity + self._cold.capacity, ids=table.total_capacity)
        """Marks rows of memory, and beyond them rows on disk."""

    def lookup_and_touch(self, ids_N: Ids, now: int) -> tuple[DistinctIds, Index]:
        with self.lock:
            if len(ids_N) > self.table.capacity:
                check_fits(self.table, len(self.distinct(ids_N).unique_U))
            return super().lookup_and_touch(ids_N, now)

    def peek(self, ids_N: Ids) -> Lookup:
        """As `EmbeddingStore.peek`. Rows on disk are read there, and have numbers of at least `capacity`."""
        with self.lock:
            found = super().peek(ids_N)
            places_N = self._cold.ids.find(ids_N)
            cold_N = places_N >= 0
            if cold_N.any():
                found.rows_N[cold_N] = places_N[cold_N] + self.table.capacity
                found.values_ND[cold_N] = self._cold.rows.read(places_N[cold_N], ids_N[cold_N])[1]
            return Lookup(found.table, found.ids_N, found.rows_N, found.values_ND)

    def _admit(self, distinct: DistinctIds, rows_U: Index, missing_M: Index, now: int) -> None:
        self._cold.ids.stamp(now // MINUTE)  # so that both tables of ids tell apart the same minutes
        missing_M = self._bring_back(distinct, rows_U, missing_M, now // MINUTE)
        if len(missing_M):
            super()._admit(distinct, rows_U, missing_M, now)

    def _bring_back(self, distinct: DistinctIds, rows_U: Index, missing_M: Index, minute: int | None) -> Index:
        """Give those of the missing ids that are on disk their rows again; they are seen now if there is a `minute`.

        Returns the positions of the others.
        """
        cold_M, entries, *values = self._cold.take(distinct.unique_U[missing_M])
        if cold_M.any():
            back_B = missing_M[cold_M]
            ids_B = distinct.unique_U[back_B]
            lifted = self.changes.lift(entries.rows_U + self.table.capacity)
            self._make_room_in_memory(len(ids_B), rows_U)
            if minute is not None:
                entries = _seen(entries, distinct.counts_U[back_B], minute)
            rows_U[back_B] = rows_B = self.ids.put(ids_B, entries.minutes_U, entries.freqs_U)
            if self._before_write is not None:
                self._before_write(rows_B)
            self.rows.put(rows_B, *values)
            self._id_of_row[rows_B] = ids_B
            self.changes.put(rows_B, lifted)
            self._counters["brought_back"] += len(ids_B)
        return missing_M[~cold_M]

    def _room(self) -> int:
        return min(super()._room(), self.table.total_capacity - len(self.ids) - len(self._cold))

    def _make_room(self, wanted: int, rows_U: Index, now: int) -> None:
        """Expire and evict ids if the table is full, then move others to disk if memory is."""
        total = self.table.total_capacity
        if wanted > total - len(self.ids) - len(self._cold):
            self._expire(now)
        short = wanted - (total - len(self.ids) - len(self._cold))
        if short > 0:  # those that go are among the coldest of memory and those on disk
            n = max(short, total // BULK)
            self._move_out(n, rows_U)
            ids, rows = self._cold.ids.evict(n, evicted=self._counters["evicted"])
            self._removed(ids, rows + self.table.capacity, "evicted")
        self._make_room_in_memory(wanted, rows_U)

    def _make_room_in_memory(self, wanted: int, rows_U: Index) -> None:
        short = wanted - (self.table.capacity - len(self.ids))
        if short > 0:
            self._move_out(max(short, self.table.capacity // BULK), rows_U)

    def _move_out(self, n: int, rows_U: Index) -> None:
        """Move the n ids of lowest eviction priority to disk, but none that this call holds."""
        with self._held(rows_U) as pinned:
            drawn = self._counters["evicted"], self.table.total_capacity
            ids, entries = self.ids.evict_entries(n, pinned, *drawn)
        if len(ids):
            places = self._cold.put(ids, entries, self.rows)
            self.changes.put(places + self.table.capacity, self.changes.lift(entries.rows_U))
            self._removals += 1
            self._counters["moved_out"] += len(ids)

    def _tiers(self) -> list[tuple[IdTable, int]]:
        return [*super()._tiers(), (self._cold.ids, self.table.capacity)]

    def revalidate(self, distinct: DistinctIds, had_U: Mask) -> Index:
        """The present rows [U] of ids that had one; those on disk come back."""
        with self.lock:
            check_fits(self.table, len(distinct.unique_U))
            rows_U = np.where(had_U, self.ids.find(distinct.unique_U), np.int32(-1))
            lost = self._bring_back(distinct, rows_U, np.flatnonzero(had_U & (rows_U < 0)).astype(np.int32), None)
            self._counters["stale"] += int(distinct.counts_U[lost].sum())
            return rows_U

    def _place_of(self, ids_N: Ids) -> Index:
        places_N = self.ids.find(ids_N)
        lost = np.flatnonzero(places_N < 0)
        cold = self._cold.ids.find(ids_N[lost])
        places_N[lost] = np.where(cold < 0, np.int32(-1), cold + self.table.capacity)
        return places_N

    def _all_places(self) -> Index:
        return np.concatenate([super()._all_places(), self._cold.entries()[1].rows_U + self.table.capacity])

    def _ids_at(self, places: Index) -> Ids:
        return self._at(places)[0]

    def _at(self, places: Index) -> tuple[Ids, Floats]:
        """The ids and values at these places; of more rows than memory holds, the values are in a file."""
        ids, size = np.empty(len(places), np.uint64), len(places) * self.rows.dim
        large = len(places) > self.table.capacity
        values = mapped_zeros(self._cold.folder, size, np.float32) if large else np.empty(size, np.float32)
        rows = values.reshape(-1, self.rows.dim)
        split = int(np.searchsorted(places, self.table.capacity))
        ids[:split], rows[:split] = super()._at(places[:split])
        for begin in range(split, len(places), PART):
            part = slice(begin, begin + PART)
            ids[part], rows[part], _ = self._cold.rows.read(places[part] - self.table.capacity)
        return ids, rows

    def state(self) -> TableState:
        with self.lock:
            warm, (ids_U, entries) = super().state(), self._cold.entries()
            _, *values = self._cold.rows.read(entries.rows_U)
            cold = ids_U, entries.minutes_U, entries.freqs_U, *values
            warm.counters["cold"] = len(ids_U)
            columns = zip(warm.columns(), cold, strict=True)
            return warm.holding([np.concatenate([one, other]) for one, other in columns])

    def restore(self, state: TableState) -> Ids:
        with self.lock:
            cold = state.counters.get("cold", 0)
            self._warm = min(self.table.capacity, max(0, len(state.ids_U) - cold))
            return super().restore(state)

    def _restore_ids(self, state: TableState, part: npt.NDArray[np.int64]) -> Callable[[], None]:
        warm = self._warm - len(self.ids)
        fill = super()._restore_ids(state, part[:warm])
        self._cold.ids.follow_clock(self.ids)
        self._cold.restore(state.take(part[warm:]))
        return fill

    def rooms(self) -> Rooms:
        """None: some of the rows of a snapshot are for the disk."""
        return {}

    def _frozen(self, marks: Bitmap | None) -> tuple[int, int, Iterator[Columns]]:
        rows, changed, warm = super()._frozen(marks)
        ids_U, entries = self._cold.entries()
        self._counters["cold"] = len(ids_U)
        marked_U = None if marks is None else is_marked(marks, entries.rows_U + self.table.capacity)
        changed += count_marked(marked_U)
        return rows + len(ids_U), changed, chain(warm, self._parts(ids_U, entries, self._cold.freeze(), marked_U))

    def close_stream(self) -> None:
        with self.lock:
            super().close_stream()
            self._cold.thaw()

    def counters(self) -> dict[str, int]:
        with self.lock:
            counters, cold = super().counters(), len(self._cold)
            moves = {name: self._counters[name] for name in ("moved_out", "brought_back")}
            return {**counters, "live": counters["live"] + cold, "cold": cold, "cold_bytes": self._cold.nbytes, **moves}


def _seen(entries: Entries, counts_B: Index, minute: int) -> Entries:
    """Entries seen so many times more, at a minute."""
    freqs_B = np.minimum(entries.freqs_U.astype(np.int64) + counts_B, MAX_FREQUENCY).astype(np.uint8)
    return Entries(entries.rows_U, np.maximum(entries.minutes_U, minute), freqs_B)
