"""Recognising events that came before, in bounded memory.

Shape suffixes: N events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError

_KIND_MIX = np.uint64(0x9E3779B97F4A7C15)
Hashes = npt.NDArray[np.uint64]


class RecentEvents:
    """Remembers the kind and id of at least the last `capacity` events, and of at most twice as many.

    Two hash tables with 64 bits per event (16 to 32 bytes): when the younger is full, the older is cleared. An event
    has the hash of another one in the window with probability `capacity` / 2^63.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InvalidValueError(f"the window for duplicates is {capacity} events; it must be at least 1")
        self.capacity = capacity
        self._slots = 1 << (2 * capacity - 1).bit_length()
        # `full`, not `zeros`: the pages are committed now, and memory does not grow later.
        self._young = np.full(self._slots, 0, np.uint64)
        self._old = np.full(self._slots, 0, np.uint64)
        self._count = 0
        self._turned = False

    def add(self, kinds_N: npt.NDArray[np.uint8], ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Remember events; returns True where one was neither known nor earlier in this call."""
        new = np.zeros(len(ids), np.bool_)
        all_hashes = _hashes(kinds_N, ids)
        rows = np.sort(np.unique(all_hashes, return_index=True)[1])  # of distinct ones, in the order they came
        hashes = all_hashes[rows]
        while len(hashes):
            if self._count == self.capacity:
                self._old, self._young = self._young, self._old
                self._young[:] = 0
                self._count, self._turned = 0, True
            piece = min(len(hashes), self.capacity - self._count)
            fresh = np.ones(piece, np.bool_)
            if self._turned:
                fresh = ~self._probe(self._old, hashes[:piece], claim=False)
            fresh[fresh] = ~self._probe(self._young, hashes[:piece][fresh], claim=True)
            self._count += int(np.count_nonzero(fresh))
            new[rows[:piece][fresh]] = True
            hashes, rows = hashes[piece:], rows[piece:]
        return new

    def _probe(self, table: Hashes, hashes: Hashes, claim: bool) -> npt.NDArray[np.bool_]:
        """Whether each of the distinct `hashes` is in the table; with `claim`, missing ones are inserted."""
        found = np.zeros(len(hashes), np.bool_)
        left = np.arange(len(hashes))
        slots = (hashes & np.uint64(self._slots - 1)).astype(np.intp)
        while len(left):
            there = table[slots[left]]
            free, same = there == 0, there == hashes[left]
            found[left[same]] = True
            over = same | free
            if claim and free.any():
                at = left[free]
                table[slots[at]] = hashes[at]  # where two want one slot, the last gets it
                over[free] = table[slots[at]] == hashes[at]
            left = left[~over]
            slots[left] = (slots[left] + 1) & (self._slots - 1)
        return found


def _hashes(kinds_N: npt.NDArray[np.uint8], ids: Sequence[str]) -> Hashes:
    """Python's own string hash: 64 bits, and this table does not outlive the process. 0 marks a free slot.

    The kind is mixed in, because impressions and interactions may be numbered alike.
    """
    hashes = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64)
    mixed: Hashes = np.maximum(hashes ^ (kinds_N.astype(np.uint64) * _KIND_MIX), np.uint64(1))
    return mixed
