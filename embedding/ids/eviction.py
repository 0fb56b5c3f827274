"""The coldest ids of a table, without looking at all of it each time.

Passes over the table, a slice at a time, list its coldest sixteenth in order. Sightings only make an id warmer, so when
the turn of an id comes, its place is still right or further on; only ids that are new and cold have to be added.

Suffixes: K listed ids, P ids in question.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.store import Ids

Words = npt.NDArray[np.uint64]
GONE = ~np.uint64(0)
"""The second word of an id that is not in the table."""
_HEAT = np.uint64(0xFFFFFFFF)
_S16, _LOW = np.uint64(16), np.uint64(0xFFFF)
_LISTED = 16  # the list holds at least 1 / _LISTED of the table
_NOBODY = np.zeros(0, np.uint64)


class _Clocked(Protocol):
    """A table that tells the second words of its ids: row << 32 | last seen << 8 | frequency."""

    def __len__(self) -> int: ...

    def slices(self) -> Iterator[tuple[Ids, Words]]: ...

    def words(self, ids_P: Ids) -> Words: ...


class Coldest:
    """The order of eviction: seen longest ago, then rarest, then by mixed id; exactly as if all ids were sorted.

    >>> from embedding.ids.id_table import IdTable
    >>> table = IdTable(capacity=10)
    >>> for minute, key in enumerate([5, 6, 7]):
    ...     _ = table.find_or_insert(np.array([key], np.uint64), minute)
    >>> Coldest(table).take(2, pinned=np.zeros(0, np.uint64)).tolist()
    [5, 6]
    """

    def __init__(self, table: _Clocked) -> None:
        self._table = table
        self.reset()

    def reset(self) -> None:
        """Forget the list, after clocks were changed by other means than sightings."""
        self._ids_K, self._heats_K, self._next = _NOBODY, _NOBODY, 0
        self._limit = -1  # ids up to this heat are in the list's rest or in `_beside`
        self._beside: list[Ids] = []

    def add(self, ids: Ids, stamp: int) -> None:
        """New ids, last seen at `stamp`."""
        if stamp << 8 <= self._limit:
            self._beside.append(ids)

    def take(self, n: int, pinned: Words) -> Ids:
        """The n coldest ids, or all, but for those whose row's bit is set in `pinned`. The caller removes them."""
        taken, complete = _NOBODY, False
        while len(taken) < n:
            if self._next == len(self._ids_K):
                if complete:
                    break
                complete = self._list(n + len(taken) + int(np.bitwise_count(pinned).sum()))
            taken = np.concatenate([taken, self._following(n - len(taken), pinned, taken)])
        if complete:
            self.reset()  # a list of all would only grow
        return taken

    def _list(self, least: int) -> bool:
        """List the coldest ids anew; whether that is all of them."""
        k = max(2 * least, len(self._table) // _LISTED)
        complete = k >= len(self._table)
        self._limit = int(_HEAT) if complete else self._heat_at(k)
        cold = [(ids[at], heats[at]) for ids, heats in self._heats() for at in [heats <= np.uint64(self._limit)]]
        ids, heats = (np.concatenate(part) for part in zip(*cold, strict=True))
        order = np.lexsort((mix(ids), heats))
        self._ids_K, self._heats_K, self._next = ids[order], heats[order], 0
        self._beside = []
        return complete

    def _heats(self) -> Iterator[tuple[Ids, Words]]:
        return ((ids, words & _HEAT) for ids, words in self._table.slices())

    def _heat_at(self, k: int) -> int:
        """The heat that k ids come before, from two histograms: a sorted copy would be a third of a table of memory."""
        upper, lower = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
        for _, heats in self._heats():
            upper += np.bincount((heats >> _S16).astype(np.int64), minlength=1 << 16)
        high = int(np.searchsorted(np.cumsum(upper), k, "right"))
        for _, heats in self._heats():
            ours = heats[heats >> _S16 == high] & _LOW
            lower += np.bincount(ours.astype(np.int64), minlength=1 << 16)
        return high << 16 | int(np.searchsorted(np.cumsum(lower), k - int(upper[:high].sum()), "right"))

    def _following(self, n: int, pinned: Words, taken: Ids) -> Ids:
        """Up to n of the next ids: those beyond the part of the list that is looked at are warmer."""
        end = min(len(self._ids_K), self._next + n + 64)
        if end == len(self._ids_K):
            bound, bound_tie = np.uint64(self._limit), GONE
        else:
            bound, bound_tie = self._heats_K[end - 1], mix(self._ids_K[end - 1 : end])[0]
        ids_P = np.unique(np.concatenate([self._ids_K[self._next : end], *self._beside]))
        self._next = end
        words_P = self._table.words(ids_P)
        here = (words_P != GONE) & ~np.isin(ids_P, taken)
        ids_P, words_P = ids_P[here], words_P[here]
        heats_P, ties_P = words_P & _HEAT, mix(ids_P)
        order = np.lexsort((ties_P, heats_P))
        ready_P = ((heats_P < bound) | ((heats_P == bound) & (ties_P <= bound_tie)))[order]
        rows_P = (words_P >> np.uint64(32))[order]
        if len(pinned):
            ready_P &= (pinned[rows_P >> np.uint64(6)] >> (rows_P & np.uint64(63))) & np.uint64(1) == 0
        chosen: Ids = ids_P[order][ready_P][:n]
        self._beside = [ids_P[(heats_P <= np.uint64(self._limit)) & ~np.isin(ids_P, chosen)]]
        return chosen
