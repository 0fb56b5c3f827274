"""Ids to row numbers: no two ids share a row, every 64-bit id is legal, rows are bounded.

Suffixes: N ids of a call, S segments, G ids that are gone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.kernels import table as kernels
from embedding.memory import lazy_zeros
from embedding.store import Ids, Index

Words = npt.NDArray[np.uint64]
_SEGMENT = 1 << 14  # ids of a full segment, at most twice that: what a growth step rewrites stays in the cache
_LOAD = 0.69  # of a full table; 16 B a slot / 0.69 = 23.2 B an id
_GROW_FROM, _GROW_SPREAD = 0.52, 0.16  # segments grow at loads spread over this range, so that they take turns
_CRAMPED = 0.78  # a segment that many ids happen to fall into grows beyond the plan from here
_MARGIN = 1 << 20  # minutes (two years) that an event may lie before the first one
_NO_PINS = np.zeros(0, np.uint64)


class IdTable:
    """A hash table from ids to rows in [0, capacity), with the last sighting and frequency of each id.

    Times are minutes since the epoch. Not thread-safe: readers and writers share a lock of their owner's.

    >>> table = IdTable(capacity=100)
    >>> ids = np.array([7, 2**64 - 1, 7, 0], np.uint64)
    >>> rows, new = table.find_or_insert(ids, minute=0)
    >>> rows.tolist(), new.tolist(), len(table)
    ([0, 1, 0, 2], [0, 1, 3], 3)
    """

    def __init__(self, capacity: int) -> None:
        if not 0 < capacity < 1 << 32:
            raise ValueError(f"capacity is {capacity}: choose between 1 and 2**32 - 1 rows")
        self.capacity = capacity
        self._bits = max(1, math.ceil(math.log2(max(2, capacity / (2 * _SEGMENT)))))
        segments = 1 << self._bits
        mean = capacity / segments
        self._full = math.ceil(mean / _LOAD / 4) + 1  # lines of a segment when the table is full
        self._free = lazy_zeros(capacity, np.uint32)
        self._state = np.zeros(3, np.int64)
        self._base: int | None = None
        self._lay_out(stride=math.ceil((mean + 6 * math.sqrt(mean) + 8) / _LOAD / 4) + 1)

    def _lay_out(self, stride: int) -> None:
        segments = 1 << self._bits
        self._stride = stride
        self._table = lazy_zeros(segments * stride * 8, np.uint64)
        start = max(4, math.ceil(self._full / (1 << max(0, self._full.bit_length() - 3))))
        self._lines_S = np.full(segments, min(start, stride), np.uint32)
        self._counts_S = np.zeros(segments, np.int64)
        self._limits_S = np.zeros(segments, np.int64)
        self._scratch = lazy_zeros(stride * 8, np.uint64)
        for segment in range(segments):
            if segment < segments // 2:  # the upper half's empty word is 0
                self._table.reshape(segments, -1)[segment, : start * 8 : 2] = ~np.uint64(0)
            self._set_limit(segment)

    def _set_limit(self, segment: int) -> None:
        turn = segment / len(self._lines_S)
        planned = self._lines_S[segment] < self._full
        load = _GROW_FROM + _GROW_SPREAD * turn if planned else _CRAMPED
        self._limits_S[segment] = max(1, int(4 * int(self._lines_S[segment]) * load))

    def __len__(self) -> int:
        return int(self._state[kernels.SIZE])

    @property
    def segments(self) -> int:
        """How many steps a streaming pass (expiry, export) has."""
        return len(self._lines_S)

    @property
    def nbytes(self) -> int:
        """Bytes of the lines in use; rows that were freed and not yet reused take four each on top."""
        return int(self._lines_S.sum()) * 64 + int(self._state[kernels.FREE_TOP]) * 4

    @property
    def load(self) -> float:
        """The share of slots in use."""
        return len(self) / (4 * int(self._lines_S.sum()))

    def probe_lengths(self, longest: int = 8) -> npt.NDArray[np.int64]:
        """Number of ids found in the first line read, the second, and so on."""
        histogram = np.zeros(longest, np.int64)
        kernels.probe_lengths(self._table, self._lines_S, self._u_bits, self._u_stride, histogram)
        return histogram

    @property
    def _u_bits(self) -> np.uint64:
        return np.uint64(self._bits)

    @property
    def _u_stride(self) -> np.uint64:
        return np.uint64(self._stride)

    def stamp(self, minute: int) -> np.uint64:
        """A minute as the table stores it. Raises ValueError when it is some 29 years after the first one."""
        if self._base is None:
            self._base = minute - _MARGIN
        stamp = max(1, minute - self._base)
        if stamp >= 1 << 24:
            raise ValueError(f"event time {minute * 60} s lies 29 years after the table's first: check its unit (ms)")
        return np.uint64(stamp)

    def minute(self, stamps: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The inverse of `stamp`."""
        return stamps.astype(np.int64) + (self._base or 0)

    def find(self, ids_N: Ids) -> Index:
        """Index of ids, -1 where there is none. Changes nothing."""
        rows_N = np.empty(len(ids_N), np.int32)
        missing_N = np.empty(len(ids_N), np.int32)
        kernels.find(
            self._table,
            self._lines_S,
            self._u_bits,
            self._u_stride,
            ids_N,
            ids_N,
            np.uint64(0),
            rows_N,
            missing_N,
        )
        return rows_N

    def touch(self, ids_N: Ids, counts_N: Index, minute: int) -> tuple[Index, Index]:
        """Note ids as seen `counts_N` times: rows (-1 where there is none), and the positions that have none."""
        rows_N, missing_N = np.empty(len(ids_N), np.int32), np.empty(len(ids_N), np.int32)
        missing = kernels.touch(
            self._table,
            self._lines_S,
            self._u_bits,
            self._u_stride,
            ids_N,
            counts_N,
            self.stamp(minute),
            rows_N,
            missing_N,
        )
        return rows_N, missing_N[:missing]

    def insert(self, ids_N: Ids, counts_N: Index, minute: int, rows_N: Index, positions: Index) -> None:
        """Fill rows_N at `positions` (ids without a row); it stays -1 when all rows are taken."""
        stamp, done = self.stamp(minute), 0
        while True:
            done = kernels.insert(
                self._table,
                self._lines_S,
                self._counts_S,
                self._limits_S,
                self._u_bits,
                self._u_stride,
                self._state,
                self._free,
                self.capacity,
                ids_N,
                counts_N,
                stamp,
                rows_N,
                positions,
                done,
            )
            if done == len(positions):
                return
            self._grow(self._segment_of(ids_N[positions[done]]))

    def deal(self, rows: npt.NDArray[np.integer[Any]]) -> None:
        """Give the next new ids these rows, in this order, and no others: for rows that come from elsewhere."""
        self._free[: len(rows)] = rows[::-1]
        self._state[kernels.FREE_TOP], self._state[kernels.NEXT_ROW] = len(rows), self.capacity

    def find_or_insert(self, ids_N: Ids, minute: int) -> tuple[Index, Index]:
        """Index of ids, seen at `minute`, and the positions of those that are new. Index are -1 when all are taken."""
        counts_N = np.ones(len(ids_N), np.int32)
        rows_N, missing = self.touch(ids_N, counts_N, minute)
        _, first = np.unique(ids_N[missing], return_index=True)
        new = missing[np.sort(first)]
        self.insert(ids_N, counts_N, minute, rows_N, missing)
        return rows_N, new[rows_N[new] >= 0]

    def _segment_of(self, one_id: np.uint64) -> int:
        return int(mix(np.array([one_id]))[0] >> np.uint64(64 - self._bits))

    def _grow(self, segment: int) -> None:
        lines = int(self._lines_S[segment])
        wanted = min(2 * lines, self._full) if lines < self._full else lines + max(1, lines // 8)
        if wanted > self._stride:
            self._widen()
            wanted = max(wanted, int(self._lines_S[segment]))
        self.resize_segment(segment, wanted)

    def resize_segment(self, segment: int, lines: int) -> None:
        """Spread one segment over `lines` lines: the unit of growing and shrinking."""
        kernels.rebuild(self._table, self._lines_S, self._u_bits, self._u_stride, segment, lines, self._scratch)
        self._set_limit(segment)

    def _widen(self) -> None:
        """Room for one segment that ids crowd into: only ids made to collide under splitmix64 ever need it."""
        old, stride, lines_S, counts_S = self._table, self._stride, self._lines_S, self._counts_S
        self._lay_out(2 * stride)
        self._table.reshape(-1, 2 * stride * 8)[:, : stride * 8] = old.reshape(-1, stride * 8)
        self._lines_S, self._counts_S = lines_S, counts_S
        for segment in range(len(lines_S)):
            self._set_limit(segment)

    def sweep(
        self, segment: int, heat: int, tie: int, pinned: Words, gone_ids: Ids, gone_rows: Index, gone: int
    ) -> int:
        """Drop what is colder than (heat, tie) from one segment; see `kernels.sweep`."""
        return int(
            kernels.sweep(
                self._table,
                self._lines_S,
                self._counts_S,
                self._u_bits,
                self._u_stride,
                segment,
                np.uint64(heat),
                np.uint64(tie),
                pinned,
                self._state,
                self._free,
                self._scratch,
                gone_ids,
                gone_rows,
                gone,
            )
        )

    def drop(self, heat: int, tie: int = 0, pinned: Words = _NO_PINS) -> tuple[Ids, Index]:
        """Drop everything colder than (heat, tie): the ids that went and the rows they had, now free."""
        gone_ids, gone_rows = lazy_zeros(len(self), np.uint64), lazy_zeros(len(self), np.int32)
        gone = 0
        for segment in range(self.segments):
            gone = self.sweep(segment, heat, tie, pinned, gone_ids, gone_rows, gone)
        return gone_ids[:gone], gone_rows[:gone]

    def expire(self, before: int) -> tuple[Ids, Index]:
        """Drop ids last seen before the minute `before`: the ids that went and the rows they had, now free."""
        return self.drop(self.heat(before))

    def heat(self, minute: int) -> int:
        """The coldness below which an id was last seen before `minute`."""
        return 0 if self._base is None else min(max(0, minute - self._base), 1 << 24) << 8

    def evict(self, n: int, pinned: Words = _NO_PINS) -> tuple[Ids, Index]:
        """Drop the n coldest ids (seen longest ago, then rarest, then by hash), never those of pinned rows."""
        ids, words = self.entries()
        rows = words >> np.uint64(32)
        if len(pinned):
            loose = (pinned[rows >> np.uint64(6)] >> (rows & np.uint64(63))) & np.uint64(1) == 0
            ids, words = ids[loose], words[loose]
        if n >= len(ids):
            return self.drop(1 << 32, 0, pinned)
        heats = (words & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        heat = np.partition(heats, n)[n]
        ties = mix(ids[heats == heat])
        rest = n - int((heats < heat).sum())
        return self.drop(int(heat), int(np.partition(ties, rest)[rest]), pinned)

    def entries(self) -> tuple[Ids, Words]:
        """All ids and their second words (row << 32 | last seen << 8 | frequency), segment by segment."""
        ids, words = np.empty(len(self), np.uint64), np.empty(len(self), np.uint64)
        n = 0
        for segment in range(self.segments):
            n += self.segment_entries(segment, ids[n:], words[n:])
        return ids, words

    def segment_entries(self, segment: int, ids: Ids, words: Words) -> int:
        """Copy one segment's ids and second words out; returns how many."""
        return int(kernels.entries(self._table, self._lines_S, self._u_bits, self._u_stride, segment, ids, words))
