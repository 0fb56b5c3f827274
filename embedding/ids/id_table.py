"""Ids to row numbers: no two ids share a row, every 64-bit id is legal, rows are bounded.

Suffix: N ids of a call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.ids.eviction import Coldest
from embedding.ids.segments import Segments
from embedding.kernels import lines as layout
from embedding.kernels import search
from embedding.kernels import segment as kernels
from embedding.kernels.sweep import release, sweep
from embedding.lazy_arrays import lazy_zeros
from embedding.store import Ids, Index

Words = npt.NDArray[np.uint64]
_MARGIN = 1 << 23  # minutes (16 years) that an event may lie before the first one: half of what the table tells apart
_CENTURY = 100 * 366 * 24 * 60
_PART = 1 << 13  # ids that a thread takes at a time, at least
_NO_PINS = np.zeros(0, np.uint64)
_NONE = np.zeros(0, np.int32)


class IdTable:
    """A hash table from ids to rows in [0, capacity), with the last sighting and frequency of each id.

    Times are minutes since the epoch. Not thread-safe: readers and writers share a lock of their owner's. `threads`
    work on one `touch`, each on its own part of the ids. Without `huge` pages a table that is far from full takes less
    memory, and its first insertion less time; a full one is searched a little more slowly.

    >>> table = IdTable(capacity=100)
    >>> ids = np.array([7, 2**64 - 1, 7, 0], np.uint64)
    >>> rows, new = table.find_or_insert(ids, minute=0)
    >>> rows.tolist(), new.tolist(), len(table)
    ([0, 1, 0, 2], [0, 1, 3], 3)
    """

    def __init__(self, capacity: int, threads: int = 1, huge: bool = True) -> None:
        if not 0 < capacity < 1 << 31:
            raise ValueError(f"capacity is {capacity}: choose between 1 and 2**31 - 1 rows")
        if threads < 1:
            raise ValueError(f"threads is {threads}: choose 1 or more")
        self.capacity = capacity
        self.segments = Segments(capacity, huge)
        self._free = lazy_zeros(capacity, np.uint32, huge=False)
        self._state = np.zeros(4, np.int64)
        self._base: int | None = None
        self._coldest = Coldest(self)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "id-table") if threads > 1 else None
        self._positions = np.empty(0, np.int32)
        self._oldest = 0  # no id was last seen before this stamp

    def __len__(self) -> int:
        return int(self._state[layout.SIZE])

    @property
    def nbytes(self) -> int:
        """Bytes of the slots; rows that were freed and not yet reused take four each on top."""
        return self.segments.slots * 16 + int(self._state[layout.FREE_TOP]) * 4

    @property
    def load(self) -> float:
        """The share of slots in use."""
        return len(self) / self.segments.slots

    def stamp(self, minute: int) -> np.uint64:
        """A minute as the table stores it. Raises ValueError when it is a century after the first one.

        The table tells the minutes of 32 years apart. When time moves beyond them, ids that were last seen more than 16
        years before then count as seen that long ago.
        """
        if self._base is None:
            self._base = minute - _MARGIN
        if minute - self._base > _CENTURY:
            raise ValueError(f"event time {minute * 60} s lies a century after the ones before: check its unit (ms)")
        if minute - self._base >= 1 << 24:
            shift = minute - self._base - (1 << 23)
            self.segments.age(shift)
            self._base += shift
            self._oldest = 0
            self._coldest.reset()
        return np.uint64(max(1, minute - self._base))

    def minute(self, words: Words) -> npt.NDArray[np.int64]:
        """The last sightings in second words of slots."""
        return ((words >> np.uint64(8)) & np.uint64(0xFFFFFF)).astype(np.int64) + (self._base or 0)

    def find(self, ids_N: Ids) -> Index:
        """Rows of ids, -1 where there is none. Changes nothing."""
        rows_N = np.empty(len(ids_N), np.int32)
        search.find(*self.segments.where, ids_N, _NONE, np.uint64(0), rows_N, _NONE)
        return rows_N

    def touch(self, ids_N: Ids, counts_N: Index, minute: int) -> tuple[Index, Index]:
        """Note ids as seen `counts_N` times: rows (-1 where there is none), and the positions that have none.

        With threads the ids must be distinct, for two threads that write one slot would lose a sighting.
        """
        stamp, rows_N, missing_N = self.stamp(minute), np.empty(len(ids_N), np.int32), self._room(len(ids_N))

        def part(begin: int) -> Index:
            span, lost = slice(begin, begin + size), missing_N[begin : begin + size]
            args = ids_N[span], counts_N[span], stamp, rows_N[span], lost
            positions: Index = np.sort(lost[: search.touch(*self.segments.where, *args)])
            positions += begin
            return positions

        size = max(_PART, -(-len(ids_N) // (4 * self._threads))) if self._threads > 1 else max(1, len(ids_N))
        return rows_N, self._shared_out(part, range(0, len(ids_N), size))

    def _shared_out(self, part: Callable[[int], Index], begins: range) -> Index:
        """The parts' results in order; every thread takes the next part when it is free, for some wake up late."""
        if self._pool is None or len(begins) < 2:
            return np.concatenate([_NONE, *map(part, begins)])
        waiting, done = deque(begins), dict.fromkeys(begins, _NONE)

        def work() -> None:
            with suppress(IndexError):  # nothing waits any more
                while True:
                    begin = waiting.popleft()
                    done[begin] = part(begin)

        others = [self._pool.submit(work) for _ in range(self._threads - 1)]
        work()
        for other in others:
            other.result()
        return np.concatenate(list(done.values()))

    def _room(self, n: int) -> Index:
        """Space for n positions, used again by the next call: fresh memory would cost more than finding the ids."""
        if len(self._positions) < n:
            self._positions = np.empty(1 << (n - 1).bit_length(), np.int32)
        return self._positions[:n]

    def insert(self, ids_N: Ids, counts_N: Index, minute: int, rows_N: Index, positions: Index) -> Index:
        """Fill rows_N at `positions` (ids without a row); it stays -1 when all rows are taken. Returns where new."""
        stamp, done, lines = self.stamp(minute), 0, self.segments
        new_N = np.empty(len(positions), np.int32)
        self._state[layout.NEW] = 0
        self._oldest = min(self._oldest, int(stamp))
        while True:
            done = kernels.insert(
                *lines.where,
                lines.counts_S,
                lines.limits_S,
                self._state,
                self._free,
                self.capacity,
                ids_N,
                counts_N,
                stamp,
                rows_N,
                positions,
                done,
                new_N,
            )
            if done == len(positions):
                new = new_N[: self._state[layout.NEW]]
                self._coldest.add(ids_N[new], int(stamp))
                return new
            lines.grow(lines.of(ids_N[positions[done]]))

    def deal(self, rows: npt.NDArray[np.integer[Any]]) -> None:
        """Give the next new ids these rows, in this order, and no others: for rows that come from elsewhere."""
        self._free[: len(rows)] = rows[::-1]
        self._state[layout.FREE_TOP], self._state[layout.NEXT_ROW] = len(rows), self.capacity

    def find_or_insert(self, ids_N: Ids, minute: int) -> tuple[Index, Index]:
        """Rows of ids, seen at `minute`, and the positions of those that are new. Rows are -1 when all are taken."""
        stamp, rows_N, missing_N = self.stamp(minute), np.empty(len(ids_N), np.int32), self._room(len(ids_N))
        n = search.touch_once(*self.segments.where, ids_N, _NONE, stamp, rows_N, missing_N)
        if not n:
            return rows_N, _NONE
        return rows_N, self.insert(ids_N, np.ones(len(ids_N), np.int32), minute, rows_N, np.sort(missing_N[:n]))

    def restore(self, ids_N: Ids, minutes_N: npt.NDArray[np.int64], freqs_N: npt.NDArray[np.uint8]) -> Index:
        """Insert distinct ids that have no row yet, with their clocks; returns their rows."""
        rows_N, every = np.full(len(ids_N), -1, np.int32), np.arange(len(ids_N), dtype=np.int32)
        if len(ids_N):
            self.insert(ids_N, every, int(minutes_N.min()), rows_N, every)
            self.stamp(int(minutes_N.max()))
            stamps_N = np.maximum(1, minutes_N - (self._base or 0))
            kernels.assign(*self.segments.where, ids_N, stamps_N, freqs_N)
            self._coldest.reset()
        return rows_N

    def expiring(self, before: int) -> Iterator[tuple[Ids, Index]]:
        """Drop ids last seen before the minute `before`, a segment a step.

        Yields the ids that went and their rows, now free. Look-ups and insertions may happen between the steps.
        """
        for segment in range(len(self.segments)):
            lines, heat = self.segments, np.uint64(self._since(before) << 8)  # stamps move when decades go by
            gone = sweep(*lines.where, lines.counts_S, segment, heat, lines.scratch, lines.going)
            ids, rows = np.empty(gone, np.uint64), np.empty(gone, np.int32)
            release(lines.going, self._state, self._free, ids, rows)
            yield ids, rows

    def expire(self, before: int) -> tuple[Ids, Index]:
        """Drop ids last seen before the minute `before`: the ids that went and the rows they had, now free.

        Looks through the table only if some id may be as old as that, so it costs nothing to ask again.
        """
        since = self._since(before)
        if since <= self._oldest:
            return np.zeros(0, np.uint64), _NONE
        ids, rows = zip(*self.expiring(before), strict=True)
        self._oldest = since
        return np.concatenate(ids), np.concatenate(rows)

    def _since(self, minute: int) -> int:
        """A minute that may lie anywhere, as a bound on the stamps of ids."""
        return 0 if self._base is None else min(max(0, minute - self._base), 1 << 24)

    def evict(self, n: int, pinned: Words = _NO_PINS) -> tuple[Ids, Index]:
        """Drop the n coldest ids (seen longest ago, then rarest, then by hash), never those of pinned rows."""
        ids = self._coldest.take(n, pinned)
        return ids, self.remove(ids)

    def remove(self, ids_N: Ids) -> Index:
        """Drop distinct ids that are in the table: the rows they had, now free."""
        rows_N = np.empty(len(ids_N), np.int32)
        kernels.remove(*self.segments.where, self.segments.counts_S, self._state, self._free, ids_N, rows_N)
        return rows_N

    def words(self, ids_N: Ids) -> Words:
        """Second words of ids (row << 32 | last seen << 8 | frequency); all ones where an id is not in the table."""
        words_N = np.empty(len(ids_N), np.uint64)
        kernels.words(*self.segments.where, ids_N, words_N)
        return words_N

    def shrinking(self) -> Iterator[int]:
        """Give back memory that a table which was once fuller holds, a segment a step: yields the bytes."""
        return self.segments.shrink()

    def entries(self) -> tuple[Ids, Words]:
        """All ids and their second words (row << 32 | last seen << 8 | frequency), in the order of their hashes."""
        ids, words = np.empty(len(self), np.uint64), np.empty(len(self), np.uint64)
        n = 0
        for segment in range(len(self.segments)):
            n += kernels.entries(*self.segments.where, segment, ids[n:], words[n:])
        return ids, words

    def slices(self) -> Iterator[tuple[Ids, Words]]:
        """As `entries`, a segment at a time; valid until the next."""
        most = int(self.segments.counts_S.max())
        ids, words = np.empty(most, np.uint64), np.empty(most, np.uint64)
        for segment in range(len(self.segments)):
            n = kernels.entries(*self.segments.where, segment, ids, words)
            yield ids[:n], words[:n]
