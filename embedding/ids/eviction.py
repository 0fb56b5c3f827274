"""The order in which a full table evicts ids, without a pass over the table for each eviction.

Passes over the table list the sixteenth of its ids with the lowest eviction priority, in order. Being seen only raises
the priority of an id, so a listed id keeps its place or moves back; only new ids of low priority have to be added.
Ids of equal priority are in the order of `hashing.eviction_ties`, by which the list is cut too: its length does not
depend on how many ids were last seen at the same minute.

Suffixes: N ids of a call, K listed ids, P ids under consideration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embedding.hashing import eviction_ties
from embedding.ids.packed import ABSENT, Packed, priorities_of, rows_of
from embedding.store import Ids

_HIGHEST = 0xFFFFFFFF
_S16, _S48, _LOW = np.uint64(16), np.uint64(48), np.uint64(0xFFFF)
_LISTED = 16  # the list holds at least 1 / _LISTED of the table
_NOBODY = np.zeros(0, np.uint64)


class _PackedTable(Protocol):
    """A table that gives the packed metadata of its ids."""

    def __len__(self) -> int: ...

    def slices(self) -> Iterator[tuple[Ids, Packed]]: ...

    def packed(self, ids_N: Ids) -> Packed: ...


class EvictionQueue:
    """Ids by eviction priority: last seen, then frequency, then `eviction_ties`; exactly the order of a full sort.

    >>> from embedding.ids.id_table import IdTable
    >>> table = IdTable(capacity=10)
    >>> for minute, key in enumerate([5, 6, 7]):
    ...     _ = table.find_or_insert(np.array([key], np.uint64), minute)
    >>> EvictionQueue(table).take(2, pinned=np.zeros(0, np.uint64), draw=0).tolist()
    [5, 6]
    """

    def __init__(self, table: _PackedTable) -> None:
        self._table = table
        self._draw = 0
        self.reset()

    def reset(self) -> None:
        """Drop the list, after priorities changed otherwise than by ids being seen."""
        self._ids_K, self._priorities_K, self._next = _NOBODY, _NOBODY, 0
        self._limit, self._limit_tie = -1, ABSENT  # ids up to this place are in the rest of the list or in `_unlisted`
        self._unlisted: list[Ids] = []

    def add(self, ids_N: Ids, priorities_N: Packed) -> None:
        """Add new ids."""
        low_N = self._within(priorities_N, ids_N)
        if low_N.any():
            self._unlisted.append(ids_N[low_N])

    def _within(self, priorities_N: Packed, ids_N: Ids) -> npt.NDArray[np.bool_]:
        """Which ids [N] are at most at the limit."""
        if self._limit < 0:
            return np.zeros(len(ids_N), bool)
        within_N = priorities_N < np.uint64(self._limit)
        equal = np.flatnonzero(priorities_N == np.uint64(self._limit))
        within_N[equal] = eviction_ties(ids_N[equal], self._draw) <= self._limit_tie
        return within_N

    def take(self, n: int, pinned: Packed, draw: int) -> Ids:
        """The n ids of lowest priority (or all), except those whose row's bit is set in `pinned`.

        Equals are in the order of `eviction_ties(ids, draw)`. The caller removes the ids from the table.
        """
        if draw != self._draw:
            self.reset()
            self._draw = draw
        taken, complete = _NOBODY, False
        while len(taken) < n:
            if self._next == len(self._ids_K):
                if complete:
                    break
                complete = self._list(n + len(taken) + int(np.bitwise_count(pinned).sum()))
            taken = np.concatenate([taken, self._following(n - len(taken), pinned, taken)])
        if complete:
            self.reset()  # a list of all ids would only grow
        return taken

    def _list(self, least: int) -> bool:
        """List at least `least` ids anew. Returns whether the list holds all ids."""
        k = max(2 * least, len(self._table) // _LISTED)
        complete = k >= len(self._table)
        self._limit, self._limit_tie = (_HIGHEST, ABSENT) if complete else self._place_of(k)
        low = [(ids[at], own[at]) for ids, own in self._priorities() for at in [self._within(own, ids)]]
        ids, priorities = (np.concatenate(part) for part in zip(*low, strict=True))
        order = np.lexsort((eviction_ties(ids, self._draw), priorities))
        self._ids_K, self._priorities_K, self._next = ids[order], priorities[order], 0
        self._unlisted = []
        return complete

    def _priorities(self) -> Iterator[tuple[Ids, Packed]]:
        return ((ids, priorities_of(packed)) for ids, packed in self._table.slices())

    def _place_of(self, k: int) -> tuple[int, np.uint64]:
        """The priority of rank k, and a tie that at least the k first ids do not exceed.

        From histograms of 16 bits each: a sorted copy would take a third of the table's memory.
        """
        high, rest = _bucket((own >> _S16 for _, own in self._priorities()), k)
        own_low = (own[own >> _S16 == high] & _LOW for _, own in self._priorities())
        low, rest = _bucket(own_low, rest)
        priority = high << 16 | low
        equals = (ids[own == priority] for ids, own in self._priorities())
        tie, _ = _bucket((eviction_ties(ids, self._draw) >> _S48 for ids in equals), rest)
        return priority, np.uint64((tie + 1 << 48) - 1)

    def _following(self, n: int, pinned: Packed, taken: Ids) -> Ids:
        """Up to n of the next ids; those further on in the list than is looked at have higher priorities."""
        end = min(len(self._ids_K), self._next + n + 64)
        if end == len(self._ids_K):
            bound, bound_tie = np.uint64(self._limit), self._limit_tie
        else:
            bound, bound_tie = self._priorities_K[end - 1], eviction_ties(self._ids_K[end - 1 : end], self._draw)[0]
        ids_P = _distinct(np.concatenate([self._ids_K[self._next : end], *self._unlisted]))
        self._next = end
        packed_P = self._table.packed(ids_P)
        present = packed_P != ABSENT
        if len(taken):
            present &= ~_among(ids_P, np.sort(taken))
        ids_P, packed_P = ids_P[present], packed_P[present]
        priorities_P, ties_P = priorities_of(packed_P), eviction_ties(ids_P, self._draw)
        order = np.lexsort((ties_P, priorities_P))
        ready_P = ((priorities_P < bound) | ((priorities_P == bound) & (ties_P <= bound_tie)))[order]
        if len(pinned):
            ready_P &= ~_pinned(rows_of(packed_P)[order].astype(np.uint64), pinned)
        chosen = order[ready_P][:n]
        left_P = self._within(priorities_P, ids_P)
        left_P[chosen] = False
        self._unlisted = [ids_P[left_P]]
        taking: Ids = ids_P[chosen]
        return taking


def _distinct(ids: Ids) -> Ids:
    """`numpy.unique` hashes first, which takes ten times as long as sorting."""
    ids = np.sort(ids)
    return ids[np.append(True, ids[1:] != ids[:-1])] if len(ids) else ids


def _among(ids: Ids, others: Ids) -> npt.NDArray[np.bool_]:
    """Which ids are among `others`, of which there are some, ascending. `numpy.isin` hashes, as `numpy.unique` does."""
    at = np.minimum(np.searchsorted(others, ids), len(others) - 1)
    found: npt.NDArray[np.bool_] = others[at] == ids
    return found


def _bucket(parts: Iterable[Packed], k: int) -> tuple[int, int]:
    """The 16-bit value of rank k among all parts, and k's rank among those of this value."""
    counts = np.zeros(1 << 16, np.int64)
    for values in parts:
        counts += np.bincount(values.astype(np.int64), minlength=1 << 16)
    bucket = int(np.searchsorted(np.cumsum(counts), k, "right"))
    return bucket, k - int(counts[:bucket].sum())


def _pinned(rows_P: Ids, pinned: Packed) -> npt.NDArray[np.bool_]:
    """Whether each row's bit is set in the bitmap `pinned`."""
    bits_P: Packed = (pinned[rows_P >> np.uint64(6)] >> (rows_P & np.uint64(63))) & np.uint64(1)
    return bits_P.astype(bool)
