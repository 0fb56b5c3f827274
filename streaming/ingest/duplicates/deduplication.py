"""Recognising duplicate events in bounded memory.

Shape suffixes: N events, U different ones among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from streaming.ingest.duplicates.fingerprint import Contents, differ

_KIND_MIX = np.uint64(0x9E3779B97F4A7C15)
Hashes = npt.NDArray[np.uint64]


class _Table:
    """An open hash table from hashes of events to hashes of their content."""

    def __init__(self, slots: int) -> None:
        # `full`, not `zeros`: the pages are committed now, and memory does not grow later.
        self._hashes = np.full(slots, 0, np.uint64)
        self._contents = np.full(slots, 0, np.uint64)

    def clear(self) -> None:
        self._hashes[:] = 0

    def probe(self, hashes: Hashes, contents: Contents, claim: bool) -> tuple[npt.NDArray[np.bool_], Contents]:
        """Whether each of the distinct `hashes` is known, and with which content; `claim` inserts missing ones."""
        found, known = np.zeros(len(hashes), np.bool_), contents.copy()
        left = np.arange(len(hashes))
        slots = (hashes & np.uint64(len(self._hashes) - 1)).astype(np.intp)
        while len(left):
            there = self._hashes[slots[left]]
            free, same = there == 0, there == hashes[left]
            found[left[same]] = True
            known[left[same]] = self._contents[slots[left[same]]]
            over = same | free
            if claim and free.any():
                at = left[free]
                self._hashes[slots[at]] = hashes[at]  # if two want one slot, the last gets it
                over[free] = self._hashes[slots[at]] == hashes[at]
                won = left[free & over]
                self._contents[slots[won]] = contents[won]
            left = left[~over]
            slots[left] = (slots[left] + 1) & (len(self._hashes) - 1)
        return found, known


class RecentEvents:
    """Remembers kind, id and content of at least the last `capacity` events, and of at most twice as many.

    Two hash tables with 128 bits per event (32 to 64 bytes): when the younger is full, the older is cleared. An event
    has the hash of another one in the window with probability `capacity` / 2^63.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InvalidValueError(f"the window for duplicates is {capacity} events; it must be at least 1")
        self.capacity = capacity
        slots = 1 << (2 * capacity - 1).bit_length()
        self._young, self._old = _Table(slots), _Table(slots)
        self._count = 0
        self._turned = False

    def add(
        self, kinds_N: npt.NDArray[np.uint8], ids: Sequence[str], contents_N: Contents
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Remember events; returns where one was neither known nor earlier in this call, and where its id was known
        with another content.
        """
        hashes_N = _hashes(kinds_N, ids)
        hashes_U, first_U = np.unique(hashes_N, return_index=True)
        known_U, new_N = contents_N[first_U], np.zeros(len(ids), np.bool_)
        arrived_U = np.argsort(first_U)
        while len(arrived_U):
            if self._count == self.capacity:
                self._old, self._young = self._young, self._old
                self._young.clear()
                self._count, self._turned = 0, True
            piece = arrived_U[: self.capacity - self._count]
            fresh, known_U[piece] = self._look(hashes_U[piece], known_U[piece], claim=True)
            self._count += int(np.count_nonzero(fresh))
            new_N[first_U[piece[fresh]]] = True
            arrived_U = arrived_U[len(piece) :]
        return new_N, _others(new_N, hashes_N, hashes_U, contents_N, known_U)

    def find(
        self, kinds_N: npt.NDArray[np.uint8], ids: Sequence[str], contents_N: Contents
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """As `add`, without remembering them, because they may not reach the log."""
        hashes_N = _hashes(kinds_N, ids)
        hashes_U, first_U = np.unique(hashes_N, return_index=True)
        fresh, known_U = self._look(hashes_U, contents_N[first_U], claim=False)
        new_N = np.zeros(len(ids), np.bool_)
        new_N[first_U[fresh]] = True
        return new_N, _others(new_N, hashes_N, hashes_U, contents_N, known_U)

    def _look(self, hashes: Hashes, contents: Contents, claim: bool) -> tuple[npt.NDArray[np.bool_], Contents]:
        """Which of the distinct `hashes` are new, and the contents under which each is known; `claim` inserts them."""
        fresh, known = np.ones(len(hashes), np.bool_), contents.copy()
        if self._turned:
            old, known = self._old.probe(hashes, contents, claim=False)
            fresh = ~old
        young, known[fresh] = self._young.probe(hashes[fresh], contents[fresh], claim)
        fresh[fresh] = ~young
        return fresh, known


def _others(
    new_N: npt.NDArray[np.bool_], hashes_N: Hashes, hashes_U: Hashes, contents_N: Contents, known_U: Contents
) -> npt.NDArray[np.bool_]:
    """Whether each event has another content than the one that is known under its id."""
    if new_N.all():
        return np.zeros(len(new_N), np.bool_)
    return differ(contents_N, known_U[np.searchsorted(hashes_U, hashes_N)])


def _hashes(kinds_N: npt.NDArray[np.uint8], ids: Sequence[str]) -> Hashes:
    """Python's own string hash: 64 bits, and the table lives no longer than the process. 0 marks a free slot.

    The kind is mixed in, because impressions and interactions may be numbered alike.
    """
    hashes = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64)
    mixed: Hashes = np.maximum(hashes ^ (kinds_N.astype(np.uint64) * _KIND_MIX), np.uint64(1))
    return mixed
