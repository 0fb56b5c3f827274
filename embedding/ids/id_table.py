"""The id table: from ids to row numbers. No two ids share a row, every 64-bit id is valid, rows are bounded.

Suffixes: N ids of a call, U distinct ids. For packed metadata see `embedding.ids.packed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.argument_checks import MAX_CAPACITY
from embedding.ids.order.eviction import EvictionQueue
from embedding.ids.packed import MOST_MINUTES, Entries, Packed, rows_of, unpack
from embedding.ids.segments import Segments
from embedding.ids.thread_parts import ThreadParts
from embedding.kernels.id_table import search, table_segment, take_ids
from embedding.kernels.id_table.lines import FREE_TOP, NEW, NEXT_ROW, SIZE
from embedding.kernels.id_table.sweep import release, sweep
from embedding.lazy_arrays import lazy_zeros
from embedding.store import Ids, Index
from embedding.value_checks import check_int
from recsys.errors import InvalidValueError

_MARGIN = MOST_MINUTES // 2  # minutes (16 years) that an event may be earlier than the first one
_CENTURY = 100 * 366 * 24 * 60
_PART = 1 << 13  # the least number of ids that a thread takes at a time
_NONE_PINNED = np.zeros(0, np.uint64)
_NONE = np.zeros(0, np.int32)


class IdTable:
    """A hash table from ids to rows in [0, capacity), with the time each id was last seen, and its frequency.

    Times are minutes since the epoch. Not thread-safe: the owner holds a lock for reading and writing. `threads` share
    the work of one `lookup_and_touch`. Without `huge` pages a table that is far from full takes less memory, and its
    first insertion less time; a full one is searched a little more slowly. `zeros` makes the arrays that grow with the
    capacity, as `lazy_zeros` does.

    Raises InvalidValueError for a capacity or number of threads out of range.

    >>> table = IdTable(capacity=100)
    >>> ids = np.array([7, 2**64 - 1, 7, 0], np.uint64)
    >>> rows, new = table.find_or_insert(ids, minute=0)
    >>> rows.tolist(), new.tolist(), len(table)
    ([0, 1, 0, 2], [0, 1, 3], 3)
    """

    def __init__(
        self, capacity: int, threads: int = 1, huge: bool = True, zeros: Callable[..., npt.NDArray[Any]] = lazy_zeros
    ) -> None:
        check_int("capacity", capacity)
        if not 1 <= capacity <= MAX_CAPACITY:
            raise InvalidValueError(f"capacity is {capacity}, choose 1 to 2**31 - 1 rows")
        self._parts = ThreadParts(threads)
        self.capacity = capacity
        self.segments = Segments(capacity, huge, zeros)
        self._free = zeros(capacity, np.uint32, huge=False)
        self._state = np.zeros(4, np.int64)
        self._origin: int | None = None
        self._eviction = EvictionQueue(self.segments, self._state, self._free)
        self._positions = np.empty(0, np.int32)
        self._oldest = 0  # a lower bound on the stamps of all ids

    def __len__(self) -> int:
        return int(self._state[SIZE])

    @property
    def nbytes(self) -> int:
        """Bytes of the slots, and four for each row that was freed and not yet reused."""
        return self.segments.slots * 16 + int(self._state[FREE_TOP]) * 4

    @property
    def rows_given(self) -> int:
        """How many rows have ever been in use."""
        return int(self._state[NEXT_ROW])

    @property
    def load(self) -> float:
        """The share of slots in use."""
        return len(self) / self.segments.slots

    @property
    def origin(self) -> int:
        """The minute of stamp 0. It moves forward when event time does so by decades."""
        return self._origin or 0

    def stamp(self, minute: int) -> np.uint64:
        """The stamp of a minute: minutes since `origin`, at least 1.

        Stamps span 32 years. When time moves beyond them, ids that were last seen more than 16 years before count as
        seen 16 years before. Raises InvalidValueError for a minute a century after the first one.
        """
        if self._origin is None:
            self._origin = minute - _MARGIN
        if minute - self._origin > _CENTURY:
            raise InvalidValueError(f"event time {minute * 60} s is a century after the first: check its unit (ms)")
        if minute - self._origin >= MOST_MINUTES:
            shift = minute - self._origin - MOST_MINUTES // 2
            self.segments.age(shift)
            self._origin += shift
            self._oldest = 0
            self._eviction.reset()
        return np.uint64(max(1, minute - self._origin))

    def span(self, earliest: int, latest: int) -> None:
        """Tell all minutes between these two apart, if it is 32 years at most; for an empty table."""
        self._origin = min(earliest - 1, latest - _MARGIN)

    def follow_clock(self, other: IdTable) -> None:
        """Tell apart the same minutes as another table from now on; for an empty table."""
        self._origin = other._origin if self._origin is None else self._origin

    def unpack(self, packed_U: Packed) -> Entries:
        """Rows, minutes and frequencies of packed metadata."""
        return unpack(packed_U, self.origin)

    def find(self, ids_N: Ids) -> Index:
        """The rows [N] of ids, -1 for an id without one. Changes nothing."""
        rows_N = np.empty(len(ids_N), np.int32)
        search.find(*self.segments.where, ids_N, _NONE, np.uint64(0), rows_N, _NONE)
        return rows_N

    def lookup_and_touch(self, ids_N: Ids, counts_N: Index, minute: int) -> tuple[Index, Index]:
        """Look ids up and mark them as seen `counts_N` times: their rows (-1: none), and the positions without a row.

        With threads the ids must be distinct: two threads that write one entry would lose a count.
        """
        stamp, rows_N, missing_N = self.stamp(minute), np.empty(len(ids_N), np.int32), self._room(len(ids_N))

        def part(begin: int) -> Index:
            span, lost = slice(begin, begin + size), missing_N[begin : begin + size]
            args = ids_N[span], counts_N[span], stamp, rows_N[span], lost
            positions: Index = np.sort(lost[: search.touch(*self.segments.where, *args)])
            positions += begin
            return positions

        threads = self._parts.threads
        size = max(_PART, -(-len(ids_N) // (4 * threads))) if threads > 1 else max(1, len(ids_N))
        return rows_N, self._parts.run(part, range(0, len(ids_N), size))

    def _room(self, n: int) -> Index:
        """A buffer of n positions, reused by the next call: new memory would cost more than finding the ids."""
        if len(self._positions) < n:
            self._positions = np.empty(1 << (n - 1).bit_length(), np.int32)
        return self._positions[:n]

    def insert(self, ids_N: Ids, counts_N: Index, minute: int, rows_N: Index, positions: Index) -> Index:
        """Set rows_N at `positions` (ids without a row); it stays -1 when all rows are in use.

        Returns the positions of ids that are new.
        """
        stamp, done, lines = self.stamp(minute), 0, self.segments
        new_N = np.empty(len(positions), np.int32)
        self._state[NEW] = 0
        self._oldest = min(self._oldest, int(stamp))
        while True:
            supply = lines.counts_S, lines.limits_S, self._state, self._free, self.capacity
            done = table_segment.insert(*lines.where, *supply, ids_N, counts_N, stamp, rows_N, positions, done, new_N)
            if done == len(positions):
                new = new_N[: self._state[NEW]]
                self._eviction.add(ids_N, counts_N, new, stamp)
                return new
            lines.grow(lines.of(ids_N[positions[done]]))

    def reserve_rows(self, rows: npt.NDArray[np.integer[Any]]) -> None:
        """Give the next new ids these rows, in this order, and no others: for row numbers assigned elsewhere."""
        self._free[: len(rows)] = rows[::-1]
        self._state[FREE_TOP], self._state[NEXT_ROW] = len(rows), self.capacity

    def find_or_insert(self, ids_N: Ids, minute: int) -> tuple[Index, Index]:
        """The rows of ids, seen at `minute`, and the positions of new ones. A row is -1 when all are in use."""
        stamp, rows_N, missing_N = self.stamp(minute), np.empty(len(ids_N), np.int32), self._room(len(ids_N))
        n = search.touch_once(*self.segments.where, ids_N, _NONE, stamp, rows_N, missing_N)
        if not n:
            return rows_N, _NONE
        return rows_N, self.insert(ids_N, np.ones(len(ids_N), np.int32), minute, rows_N, np.sort(missing_N[:n]))

    def put(self, ids_N: Ids, minutes_N: npt.NDArray[np.int64], freqs_N: npt.NDArray[np.uint8]) -> Index:
        """Insert distinct ids without a row, with their minutes and frequencies (at least 1); returns their rows."""
        if not len(ids_N):
            return _NONE
        earliest, latest = int(minutes_N.min()), int(minutes_N.max())
        self.stamp(earliest), self.stamp(latest)
        rows_N = self._put(ids_N, minutes_N, freqs_N)
        once_N, new = np.ones(len(ids_N), np.int32), np.flatnonzero(rows_N >= 0).astype(np.int32)
        self._eviction.add(ids_N, once_N, new, self.stamp(earliest))  # looked up when their turn comes, so not too late
        return rows_N

    def _put(self, ids_N: Ids, minutes_N: npt.NDArray[np.int64], freqs_N: npt.NDArray[np.uint8]) -> Index:
        seen_N = np.maximum(1, minutes_N - self.origin).astype(np.uint64) << np.uint64(8) | freqs_N
        self._oldest = min(self._oldest, int(seen_N.min()) >> 8)
        rows_N, done, lines = np.empty(len(ids_N), np.int32), 0, self.segments
        while done < len(ids_N):
            supply = lines.counts_S, lines.limits_S, self._state, self._free, self.capacity
            done = table_segment.put(*lines.where, *supply, ids_N, seen_N, done, rows_N)
            if done < len(ids_N):
                lines.grow(lines.of(ids_N[done]))
        return rows_N

    def make_room(self, ids: int) -> None:
        """Take the memory that so many ids need, in an empty table, rather than grow to it step by step."""
        self.segments.make_room(ids)

    def restore(self, ids_N: Ids, minutes_N: npt.NDArray[np.int64], freqs_N: npt.NDArray[np.uint8]) -> Index:
        """As `put`, for many ids of a snapshot, which may never have been seen."""
        rows_N = self.put(ids_N, minutes_N, freqs_N)
        self._eviction.reset()
        return rows_N

    def expiring(self, before: int) -> Iterator[tuple[Ids, Index]]:
        """Drop ids last seen before the minute `before`, one segment per step.

        Yields the dropped ids and their rows, which are free again. The table may be used between the steps.
        """
        for number in range(len(self.segments)):
            yield self._swept(number, np.uint64(self._since(before) << 8))  # `origin` may move between steps

    def expire(self, before: int) -> tuple[Ids, Index]:
        """Drop ids last seen before the minute `before`. Returns the ids and their rows, which are free again.

        Passes over the table only if some id may be that old, so that repeated calls are cheap.
        """
        since = self._since(before)
        if since <= self._oldest:
            return np.zeros(0, np.uint64), _NONE
        ids, rows = zip(*self.expiring(before), strict=True)
        self._oldest = since
        return np.concatenate(ids), np.concatenate(rows)

    def take(self, ids_N: Ids) -> tuple[npt.NDArray[np.bool_], Entries]:
        """Drop distinct ids. Returns which of them were here, and what these had; their rows are free again."""
        packed_N, lines = np.empty(len(ids_N), np.uint64), self.segments
        take_ids.take(*lines.where, lines.counts_S, self._state, self._free, ids_N, packed_N)
        here_N = packed_N != 0  # a stamp is at least 1
        return here_N, self.unpack(packed_N[here_N])

    def remove(self, ids_N: Ids) -> tuple[Ids, Index]:
        """Drop these ids. Returns those that were here and their rows, which are free again."""
        distinct = np.unique(ids_N)
        here, entries = self.take(distinct)
        return distinct[here], entries.rows_U

    def _swept(self, number: int, priority: np.uint64) -> tuple[Ids, Index]:
        """Drop the ids below a priority from one segment."""
        lines = self.segments
        gone = sweep(*lines.where, lines.counts_S, number, priority, lines.scratch, lines.going)
        ids, rows = np.empty(gone, np.uint64), np.empty(gone, np.int32)
        release(lines.going, self._state, self._free, ids, rows)
        return ids, rows

    def _since(self, minute: int) -> int:
        """Any minute as a lower bound on stamps."""
        return 0 if self._origin is None else min(max(0, minute - self._origin), MOST_MINUTES)

    def evict(self, n: int, pinned: Packed = _NONE_PINNED, evicted: int = 0) -> tuple[Ids, Index]:
        """Drop the n ids of lowest eviction priority (or all), but none whose row's bit is set in `pinned`.

        The order is last seen, then frequency, then `hashing.eviction_ties` in a draw that depends on how many were
        `evicted` before. Returns the ids, in this order, and their rows, which are free again.
        """
        ids_R, packed_R = self._eviction.evict(n, pinned, evicted, self.capacity)
        return ids_R, rows_of(packed_R)

    def evict_entries(self, n: int, pinned: Packed, evicted: int, capacity: int) -> tuple[Ids, Entries]:
        """As `evict`, in the draws of a table of another `capacity`. Returns the ids and what they had."""
        ids_R, packed_R = self._eviction.evict(n, pinned, evicted, capacity)
        return ids_R, self.unpack(packed_R)

    def shrinking(self) -> Iterator[int]:
        """Give back memory that the table needed when it was fuller, one segment per step; yields the bytes."""
        return self.segments.shrink()

    def entries(self) -> tuple[Ids, Packed]:
        """All ids and their packed metadata, in the order of their mixed ids."""
        ids_U, packed_U = np.empty(len(self), np.uint64), np.empty(len(self), np.uint64)
        n = 0
        for number in range(len(self.segments)):
            n += table_segment.entries(*self.segments.where, number, ids_U[n:], packed_U[n:])
        return ids_U, packed_U
