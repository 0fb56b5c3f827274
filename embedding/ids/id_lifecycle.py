"""The life of a table's ids: from the first sighting to the tombstone.

Suffixes: N ids of a call, U distinct ids, M distinct ids that have no row, R rows.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embedding.delta.change_log import ChangeLog
from embedding.hashing import salt_of
from embedding.ids.admission import Mask
from embedding.ids.counting_filter import bounded_policy
from embedding.ids.id_table import IdTable
from embedding.kernels import bitmap, dedup
from embedding.lazy_arrays import lazy_zeros
from embedding.rows.row_block import RowMemory
from embedding.snapshot.copy_on_write import UndoLog
from embedding.snapshot.snapshot import TableState
from embedding.snapshot.tensor_file import Arrays
from embedding.store import Floats, Ids, Index, RowNumbers, Table
from embedding.validation import BULK, MINUTE

COUNTED = ("admitted", "unadmitted", "refused", "expired", "evicted", "stale")
PART = 1 << 13  # rows of a snapshot's part: what the lock is held for at a time


@dataclass(frozen=True, slots=True)
class DistinctIds:
    """Distinct ids of a call: ids_N[i] == unique_U[inverse_N[i]].

    >>> from embedding.rows.row_block import RowBlock
    >>> table = Table("item", dim=4, capacity=8, ttl=60_000)
    >>> ids = TableIds(table, 0, RowBlock(8, 4, table.optimizer, np.uint64(0), 0.01))
    >>> batch = ids.batch(np.array([7, 8, 7], np.uint64))
    >>> batch.unique_U.tolist(), batch.inverse_N.tolist(), batch.counts_U.tolist()
    ([7, 8], [0, 1, 0], [2, 1])
    """

    unique_U: Ids
    inverse_N: Index
    counts_U: Index


class TableIds:
    """The life of one table's ids: admission, expiry, eviction, changes; `rows` holds their values.

    Every public method holds the table's lock, so a reader never sees half a row.

    >>> from embedding.rows.row_block import RowBlock
    >>> table = Table("item", dim=4, capacity=8, ttl=60_000)
    >>> ids = TableIds(table, 0, RowBlock(8, 4, table.optimizer, np.uint64(0), 0.01))
    >>> _, rows_U = ids.lookup_and_touch(np.array([7, 8, 7], np.uint64), now=0)
    >>> rows_U.tolist(), sum(ids.expiring(now=180_000))
    ([0, 1], 2)
    """

    def __init__(self, table: Table, seed: int, rows: RowMemory, threads: int = 1) -> None:
        self.table, self._seed, self.rows = table, seed, rows
        self.lock = threading.RLock()
        self._salt = salt_of(seed, table.name)
        self.ids = IdTable(table.capacity, threads)
        self.changes = ChangeLog(table.capacity)
        self._policy = bounded_policy(table.admission, self._salt, candidates=2 * table.capacity)
        self._id_of_row = lazy_zeros(table.capacity, np.uint64)
        self._pinned = lazy_zeros(table.capacity // 64 + 1, np.uint64)
        self._scratch, self._stamp = np.zeros(1 << 11, np.uint64), 0
        self._draws, self._removals = 0, 0
        self._counters: Counter[str] = Counter()
        self._undo: UndoLog | None = None

    def batch(self, ids_N: Ids) -> DistinctIds:
        n = len(ids_N)
        if len(self._scratch) < 2 * n:
            self._scratch = np.zeros(1 << (2 * n - 1).bit_length(), np.uint64)
        self._stamp += 1
        if self._stamp == 1 << 16:
            self._scratch[:], self._stamp = 0, 1
        unique_N, inverse_N, counts_N = np.empty(n, np.uint64), np.empty(n, np.int32), np.empty(n, np.int32)
        u = dedup.dedup(ids_N, self._scratch, np.uint64(self._stamp), unique_N, inverse_N, counts_N)
        return DistinctIds(unique_N[:u], inverse_N, counts_N[:u])

    def lookup_and_touch(self, ids_N: Ids, now: int) -> tuple[DistinctIds, Index]:
        """Count, admit and note ids as seen at `now`: their distinct ids, and the row of each (-1: none)."""
        with self.lock:
            batch = self.batch(ids_N)
            rows_U = np.zeros(0, np.int32)
            if len(ids_N):
                self._draws += 1
                rows_U, missing_M = self.ids.lookup_and_touch(batch.unique_U, batch.counts_U, now // MINUTE)
                if len(missing_M):
                    self._admit(batch, rows_U, missing_M, now)
            return batch, rows_U

    @property
    def removals(self) -> int:
        """Goes up whenever ids go: rows that were read are good as long as it has not."""
        return self._removals

    def _admit(self, batch: DistinctIds, rows_U: Index, missing_M: Index, now: int) -> None:
        counts_M = batch.counts_U[missing_M]
        passes_M = self._policy.admit(batch.unique_U[missing_M], counts_M, self._draws)
        self._counters["unadmitted"] += int(counts_M[~passes_M].sum())
        admitted = missing_M[passes_M]
        room = self.table.capacity - len(self.ids)
        if len(admitted) > room:
            self._make_room(len(admitted), rows_U, now)
            room = self.table.capacity - len(self.ids)
        granted, refused = admitted[:room], admitted[room:]
        self._counters["refused"] += int(batch.counts_U[refused].sum())
        self._counters["admitted"] += len(granted)
        if len(granted):
            self._add(batch.unique_U, batch.counts_U, granted, rows_U, now // MINUTE)

    def _add(self, unique_U: Ids, counts_U: Index, granted: Index, rows_U: Index, minute: int) -> None:
        self.ids.insert(unique_U, counts_U, minute, rows_U, granted)
        ids, rows = unique_U[granted], rows_U[granted]
        if self._undo is not None:
            self._undo.keep(rows)
        self.rows.initialise(rows, ids)
        self._id_of_row[rows] = ids
        self._policy.forget(ids)
        self.changes.mark(rows)

    def _make_room(self, wanted: int, rows_U: Index, now: int) -> None:
        """Expired ids go first, then the coldest that this batch does not hold."""
        if self.table.ttl is not None:
            self._removed(*self.ids.expire((now - self.table.ttl) // MINUTE), "expired")
        short = wanted - (self.table.capacity - len(self.ids))
        if short > 0:
            bitmap.mark(self._pinned, rows_U)
            self._removed(*self.ids.evict(max(short, self.table.capacity // BULK), self._pinned), "evicted")
            bitmap.unmark(self._pinned, rows_U)

    def _removed(self, ids: Ids, rows: Index, why: str) -> None:
        if len(ids):
            self._removals += 1
            self._counters[why] += len(ids)
            self.changes.remove(ids, rows)

    def expiring(self, now: int) -> Iterator[int]:
        """Drop ids past their time to live in short steps; the lock is free between them. Yields how many went."""
        if self.table.ttl is None:
            return
        steps = self.ids.expiring((now - self.table.ttl) // MINUTE)
        for _ in range(len(self.ids.segments)):
            with self.lock:
                ids, rows = next(steps)
                self._removed(ids, rows, "expired")
            yield len(ids)

    def shrinking(self) -> Iterator[int]:
        """Give back memory of the id table, a segment a step."""
        steps = self.ids.shrinking()
        for _ in range(len(self.ids.segments)):
            with self.lock:
                freed = next(steps)
            yield freed

    def revalidate(self, batch: DistinctIds, had_U: Mask) -> Index:
        """The rows now of distinct ids that had one; those that lost it since are counted."""
        with self.lock:
            rows_U = np.where(had_U, self.ids.find(batch.unique_U), np.int32(-1))
            self._counters["stale"] += int(batch.counts_U[had_U & (rows_U < 0)].sum())
            return rows_U

    def take_changes(self, consumer: str, full: bool) -> tuple[Ids, Floats, Ids]:
        """Ids with their values, and ids that went, for the next delta."""
        with self.lock:
            rows, removed = self.changes.take_changes(consumer)
            if full:
                rows, removed = self._live(), np.zeros(0, np.uint64)
            return self._id_of_row[rows], self.rows.values(rows), removed[self.ids.find(removed) < 0]

    def pending(self, consumer: str) -> tuple[Ids, Ids]:
        """Ids that changed and ids that went since the last cut."""
        with self.lock:
            rows, removed = self.changes.peek(consumer)
            return self._id_of_row[rows], removed[self.ids.find(removed) < 0]

    def resume(self, consumer: str, changed: Ids, removed: Ids) -> None:
        """Go on listening where a snapshot stopped."""
        with self.lock:
            self.changes.listen(consumer)
            self.changes.mark_for(consumer, self.ids.find(changed), removed)

    def _live(self) -> Index:
        return (self.ids.entries()[1] >> np.uint64(32)).astype(np.int32)

    def state(self) -> TableState:
        """The table as it is now, in memory."""
        with self.lock:
            ids_U, packed_U = self.ids.entries()
            rows_U = (packed_U >> np.uint64(32)).astype(np.int32)
            seen_U, freq_U = self.ids.minute(packed_U), (packed_U & np.uint64(0xFF)).astype(np.uint8)
            weights, states = self.rows.values(rows_U), self.rows.states(rows_U)
            counters, gate = dict(self._counters), dict(self._policy.state())
            return TableState(ids_U, seen_U, freq_U, weights, states, self.rows.step, self._draws, counters, gate)

    def restore(self, state: TableState) -> Ids:
        """Fill an empty table. Returns the coldest ids, evicted when it holds fewer rows than the state."""
        with self.lock:
            which = state.warmest(self.table.capacity)
            if len(which):  # the oldest decides how far back the clock reaches, whatever part it is in
                self.ids.stamp(int(state.seen_U[which].min()))
            for begin in range(0, len(which), PART):
                part = which[begin : begin + PART]
                rows = self.ids.restore(state.ids_U[part], state.seen_U[part], state.freq_U[part])
                self.rows.put(rows, state.weights_UD[part], state.state_UW[part])
                self._id_of_row[rows] = state.ids_U[part]
            self.rows.step, self._draws, self._counters = state.step, state.draws, Counter(state.counters)
            self._counters["evicted"] += len(state.ids_U) - len(which)
            if state.gate:
                self._policy.restore(dict(state.gate))
            return np.delete(state.ids_U, which)

    def by_row(self) -> tuple[Ids, RowNumbers]:
        """Id of each row, and its last sighting (minutes << 8) with its frequency; 0 where the row is free."""
        with self.lock:
            ids_U, packed_U = self.ids.entries()
            rows_U = (packed_U >> np.uint64(32)).astype(np.int64)
            ids_R, packed_R = np.zeros(self.table.capacity, np.uint64), np.zeros(self.table.capacity, np.int64)
            ids_R[rows_U] = ids_U
            packed_R[rows_U] = self.ids.minute(packed_U) << 8 | (packed_U & np.uint64(0xFF)).astype(np.int64)
            return ids_R, packed_R

    def candidates(self) -> Arrays:
        """Sightings of ids that have no row, as the gate keeps them."""
        with self.lock:
            return self._policy.state()

    def restore_from_rows(self, ids_R: Ids, packed_R: RowNumbers, candidates: Arrays) -> None:
        """The inverse of `by_row` and `candidates`: these and no others. The rows' values are left as they are."""
        with self.lock:
            live = np.flatnonzero(packed_R)
            self.ids = IdTable(self.table.capacity)
            self.ids.reserve_rows(live)
            self.ids.restore(ids_R[live], packed_R[live] >> 8, (packed_R[live] & 0xFF).astype(np.uint8))
            self.ids.reserve_rows(np.flatnonzero(packed_R == 0))
            self._id_of_row[:] = ids_R
            self._counters = Counter(admitted=len(live))
            if candidates:
                self._policy.restore(candidates)
            self._removals += 1

    def counters(self) -> dict[str, int]:
        live = len(self.ids)
        per_row = 4 * (self.rows.dim + self.rows.width) + 8
        size = self.ids.nbytes + self._policy.nbytes + live * per_row
        return {"live": live, "rows": live, "bytes": size, **{name: self._counters[name] for name in COUNTED}}
