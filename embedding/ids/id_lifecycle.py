"""The life of a table's ids, from first occurrence to removal.

Suffixes: N ids of a call, U distinct ids, M distinct ids that have no row, R rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from embedding.argument_checks import BULK, MINUTE
from embedding.hashing import salt_of
from embedding.ids.admission import AdmissionPolicy, Mask
from embedding.ids.changed_ids import ChangedIds
from embedding.ids.counting_filter import bounded_policy
from embedding.ids.distinct_ids import Deduplicator, DistinctIds
from embedding.ids.event_clock import EventClock
from embedding.ids.id_table import IdTable
from embedding.ids.packed import Packed
from embedding.ids.thread_parts import run_beside
from embedding.kernels import bitmap
from embedding.lazy_arrays import lazy_zeros
from embedding.rows.row_block import RowMemory, as_span
from embedding.store import Ids, Index, Table
from embedding.table_state import TableState

COUNTED = ("admitted", "unadmitted", "refused", "expired", "evicted", "erased", "stale", "nonfinite", "ahead")
PART = 1 << 13  # rows per part of a snapshot: the lock is held for one part at a time


class TableIds(ChangedIds):
    """Admission, expiry, eviction and changes of one table's ids; `rows` holds their values.

    Every public method holds the table's lock, so that a reader never sees a row half written.

    >>> from embedding.rows.row_block import RowBlock
    >>> table = Table("item", dim=4, capacity=8, ttl=60_000)
    >>> ids = TableIds(table, 0, RowBlock(8, 4, table.optimizer, np.uint64(0), 0.01))
    >>> _, rows_U = ids.lookup_and_touch(np.array([7, 8, 7], np.uint64), now=0)
    >>> rows_U.tolist(), sum(ids.expiring(now=180_000))
    ([0, 1], 2)
    """

    def __init__(
        self, table: Table, seed: int, rows: RowMemory, threads: int = 1, policy: AdmissionPolicy | None = None
    ) -> None:
        super().__init__(table, rows, IdTable(table.capacity, threads))
        self._seed, self._salt = seed, salt_of(seed, table.name)
        self._policy = policy or bounded_policy(table.admission, self._salt, candidates=2 * table.capacity)
        self._pinned = lazy_zeros(table.capacity // 64 + 1, np.uint64)
        self._deduplicator = Deduplicator()
        self._lookups, self._removals = 0, 0
        self._clock = EventClock()
        self._counters: Counter[str] = Counter()
        self._before_write: Callable[[Index], None] | None = None
        """Called with rows (-1 is ignored) that are about to change."""

    def admit_by(self, policy: AdmissionPolicy) -> None:
        """Take another admission policy, before the first look-up."""
        self._policy = policy

    def distinct(self, ids_N: Ids) -> DistinctIds:
        """The distinct ids of a call."""
        with self.lock:
            return self._deduplicator.distinct(ids_N)

    def lookup_and_touch(self, ids_N: Ids, now: int) -> tuple[DistinctIds, Index]:
        """Count, admit and mark ids as seen at `now` (ms). Returns the distinct ids and their rows [U] (-1: none)."""
        with self.lock:
            distinct, rows_U = self.distinct(ids_N), np.zeros(0, np.int32)
            self._lookups += 1  # in all processes that share a table alike, also in one without ids
            if len(ids_N):
                now = self._trusted(now, len(ids_N))
                rows_U, missing_M = self.ids.lookup_and_touch(distinct.unique_U, distinct.counts_U, now // MINUTE)
                if len(missing_M):
                    self._admit(distinct, rows_U, missing_M, now)
            return distinct, rows_U

    def _trusted(self, now: int, lookups: int) -> int:
        trusted = self._clock.trusted(now)
        self._counters["ahead"] += lookups if trusted < now else 0
        return trusted

    @property
    def removals(self) -> int:
        """Increases whenever ids are removed: row numbers are valid as long as it stays the same."""
        return self._removals

    def _admit(self, distinct: DistinctIds, rows_U: Index, missing_M: Index, now: int) -> None:
        counts_M = distinct.counts_U[missing_M]
        passes_M = self._policy.admit(distinct.unique_U[missing_M], counts_M, self._lookups)
        self._counters["unadmitted"] += int(counts_M[~passes_M].sum())
        admitted = missing_M[passes_M]
        if len(admitted) > self._room():
            self._make_room(len(admitted), rows_U, now)
        room = self._room()
        granted, refused = admitted[:room], admitted[room:]
        self._counters["refused"] += int(distinct.counts_U[refused].sum())
        self._counters["admitted"] += len(granted)
        if len(granted):
            self._add(distinct, granted, rows_U, now // MINUTE)

    def _room(self) -> int:
        """How many new ids can have a row now."""
        return self.table.capacity - len(self.ids)

    def _add(self, distinct: DistinctIds, granted: Index, rows_U: Index, minute: int) -> None:
        self.ids.insert(distinct.unique_U, distinct.counts_U, minute, rows_U, granted)
        ids, rows = distinct.unique_U[granted], rows_U[granted]
        if self._before_write is not None:
            self._before_write(rows)
        self.rows.initialise(rows, ids)
        self._id_of_row[rows] = ids
        self._policy.forget(ids)
        self.changes.mark(rows)

    def _make_room(self, wanted: int, rows_U: Index, now: int) -> None:
        """Expire ids, then evict those of lowest priority that this call does not hold."""
        self._expire(now)
        short = wanted - self._room()
        if short > 0:
            n = max(short, self.table.capacity // BULK)
            with self._held(rows_U) as pinned:
                self._removed(*self.ids.evict(n, pinned, self._counters["evicted"]), "evicted")

    def _expire(self, now: int) -> None:
        """Drop ids past their time to live at once."""
        if self.table.ttl is None:
            return
        for tier, first in self._tiers():
            ids, rows = tier.expire((now - self.table.ttl) // MINUTE)
            self._removed(ids, rows + first, "expired")

    @contextmanager
    def _held(self, rows_U: Index) -> Iterator[Packed]:
        """The bits of rows that are not to be evicted in this block."""
        bitmap.mark(self._pinned, rows_U)
        yield self._pinned
        bitmap.unmark(self._pinned, rows_U)

    def _removed(self, ids: Ids, rows: Index, why: str) -> None:
        if len(ids):
            self._removals += 1
            self._counters[why] += len(ids)
            self.changes.remove(ids, rows)

    def _tiers(self) -> list[tuple[IdTable, int]]:
        """The tables of ids of this table, each with the number that the change log has for its row 0."""
        return [(self.ids, 0)]

    def forget(self, ids_N: Ids) -> int:
        """Drop these ids and their counts; returns how many had a row."""
        with self.lock:
            self._policy.forget(ids_N)
            gone = [(tier.remove(ids_N), first) for tier, first in self._tiers()]
            for (ids, rows), first in gone:
                self._removed(ids, rows + first, "erased")
            return sum(len(ids) for (ids, _), _ in gone)

    def expiring(self, now: int) -> Iterator[int]:
        """Drop ids past their time to live in short steps, without the lock between them. Yields numbers of ids."""
        if self.table.ttl is None:
            return
        with self.lock:
            before = (self._clock.trusted(now) - self.table.ttl) // MINUTE
        for tier, first in self._tiers():
            steps = tier.expiring(before)
            for _ in range(len(tier.segments)):
                with self.lock:
                    ids, rows = next(steps)
                    self._removed(ids, rows + first, "expired")
                yield len(ids)

    def shrinking(self) -> Iterator[int]:
        """Give back memory of the id table, one segment per step; yields the bytes."""
        for tier, _ in self._tiers():
            steps = tier.shrinking()
            for _ in range(len(tier.segments)):
                with self.lock:
                    freed = next(steps)
                yield freed

    def revalidate(self, distinct: DistinctIds, had_U: Mask) -> Index:
        """The present rows [U] of ids that had one; those that lost it (-1) are counted as stale."""
        with self.lock:
            rows_U = np.where(had_U, self.ids.find(distinct.unique_U), np.int32(-1))
            self._counters["stale"] += int(distinct.counts_U[had_U & (rows_U < 0)].sum())
            return rows_U

    def count_nonfinite(self, skipped: int) -> None:
        """Count rows that an update left as they were."""
        with self.lock:
            self._counters["nonfinite"] += skipped

    def state(self) -> TableState:
        """The table as it is now, in memory."""
        with self.lock:
            ids_U, packed_U = self.ids.entries()
            entries = self.ids.unpack(packed_U)
            values = self.rows.values(entries.rows_U), self.rows.states(entries.rows_U)
            clocks, policy = (self.rows.step, self._lookups), [dict(self._policy.state())]
            return TableState(ids_U, entries.minutes_U, entries.freqs_U, *values, *clocks, dict(self._counters), policy)

    def restore(self, state: TableState) -> Ids:
        """Fill an empty table. Returns the ids evicted because it has fewer rows than the state."""
        with self.lock:
            kept = state.evicted_last(self.table.total_capacity)
            self._clock.restore(state.seen_U)
            if len(kept):  # of all parts together
                self.ids.span(int(state.seen_U[kept].min()), int(state.seen_U[kept].max()))
            self.ids.make_room(min(len(kept), self.table.capacity))
            run_beside(self._restore_ids(state, kept[begin : begin + PART]) for begin in range(0, len(kept), PART))
            self.rows.step, self._lookups, self._counters = state.step, state.lookups, Counter(state.counters)
            self._counters["evicted"] += len(state.ids_U) - len(kept)
            if len(state.admission) == 1:
                self._policy.restore(state.admission[0])
            return np.delete(state.ids_U, kept)

    def _restore_ids(self, state: TableState, part: npt.NDArray[np.int64]) -> Callable[[], None]:
        """Give rows to the ids at the positions `part`; returns what fills these rows, in any thread."""
        span = as_span(part)
        rows = self.ids.restore(state.ids_U[span], state.seen_U[span], state.freq_U[span])
        self._id_of_row[as_span(rows)] = state.ids_U[span]
        return lambda: self.rows.put(rows, state.weights_UD[span], state.state_UW[span])

    def counters(self) -> dict[str, int]:
        """The table's counters, see `EmbeddingStore.counters`."""
        live = len(self.ids)
        per_row = 4 * (self.rows.dim + self.rows.width) + 8
        size = self.ids.nbytes + self._policy.nbytes + live * per_row
        return {"live": live, "rows": live, "bytes": size, **{name: self._counters[name] for name in COUNTED}}
