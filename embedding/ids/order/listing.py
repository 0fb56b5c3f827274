"""A list of the ids that are evicted next, made in steps. Suffix: K ids that wait."""

from __future__ import annotations

import math

import numpy as np

from embedding.ids.order.waiting import HIGHEST, NOBODY, NewIds, Waiting, sorted_by_place
from embedding.ids.segments import Segments
from embedding.kernels.id_table import coldest

_SAMPLE = 1 << 12  # lines that tell the places of all


class Listing:
    """About `wanted` ids of a draw with places beyond `above`, up to a limit that a sample of the table gives.

    >>> segments = Segments(capacity=10)
    >>> listing = Listing(segments, draw=0, above=np.uint64(0), wanted=5)
    >>> listing.advance(share=1.0)
    >>> [len(part) for part in listing.in_order()], bool(listing.limit == HIGHEST)
    ([0, 0], True)
    """

    def __init__(self, segments: Segments, draw: int, above: np.uint64, wanted: int) -> None:
        self.draw = draw
        self._segments, self._above, self._scanned = segments, above, 0
        self._places, self._keys = NOBODY
        self._n = 0
        self.late: list[Waiting] = []
        """Ids that were added."""
        self.limit = self._place_of(wanted)
        """The highest place of ids in the list."""

    def _place_of(self, rank: int) -> np.uint64:
        step = max(1, int(self._segments.lines_S.sum()) // _SAMPLE)
        self.limit = HIGHEST
        self._collect(0, len(self._segments), step)
        sample = self._places[: self._n]
        (self._places, self._keys), self._n = NOBODY, 0
        among = rank // step
        return np.partition(sample, among)[among] if among < len(sample) else HIGHEST

    def _collect(self, begin: int, end: int, step: int = 1) -> None:
        lines, counts = self._segments.lines_S[begin:end], self._segments.counts_S[begin:end]
        most = np.minimum(counts, 4 * (lines.astype(np.int64) // step + 1))
        self._make_room(self._n + int(most.sum()))
        order = np.uint64(self.draw), self._above, self.limit
        lists = self._places, self._keys, self._n
        self._n = coldest.collect(*self._segments.where, begin, end, step, *order, *lists)

    def _make_room(self, n: int) -> None:
        if len(self._places) < n:
            places_K, keys_K = np.empty(2 * n, np.uint64), np.empty(2 * n, np.uint64)
            places_K[: self._n], keys_K[: self._n] = self._places[: self._n], self._keys[: self._n]
            self._places, self._keys = places_K, keys_K

    def advance(self, share: float) -> None:
        """Search the table until this share of it has been searched."""
        end = min(len(self._segments), math.ceil(share * len(self._segments)))
        if end > self._scanned:
            self._collect(self._scanned, end)
            self._scanned = end

    def add(self, new: NewIds) -> None:
        """Add the new ids that belong in the list."""
        within = new.between(self._above, self.limit, self.draw)
        self.late += [within] if len(within[0]) else []

    def add_moved(self, moved: Waiting) -> None:
        """Add the ids that belong in the list, of those whose places have changed."""
        within_K = (moved[0] > self._above) & (moved[0] <= self.limit)
        self.late.append((moved[0][within_K], moved[1][within_K]))

    def in_order(self) -> Waiting:
        """The ids that were found, in order; to be asked once."""
        return sorted_by_place((self._places[: self._n], self._keys[: self._n]), self.draw)
