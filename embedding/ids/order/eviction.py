"""The order in which a full table evicts ids, in small steps.

The lowest sixteenth of the ids waits in order. While they are evicted, a part of the table is searched in each call for
those that come next, so that no call waits for a pass over the table. Being seen only raises the place of an id (see
`embedding.kernels.id_table.eviction`): those that wait are looked up when their turn comes, and only new ids have to be
added.

Suffixes: N ids of a call, K ids that wait, R ids removed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedding.hashing import eviction_draw
from embedding.ids.order.listing import Listing
from embedding.ids.order.waiting import HIGHEST, NOBODY, NewIds, Waiting, joined, merged, sorted_by_place, up_to
from embedding.ids.packed import Packed
from embedding.ids.segments import Segments
from embedding.kernels.id_table import eviction
from embedding.kernels.id_table.lines import SIZE
from embedding.store import Ids, Index

_SHARE = 16  # at least 1 / _SHARE of the table waits


class EvictionQueue:
    """Ids by last seen, then frequency, then `hashing.eviction_ties`: exactly the order of a full sort.

    `state` and `free` are the id table's, see `embedding.kernels.id_table.lines`.

    >>> from embedding.ids.id_table import IdTable
    >>> table = IdTable(capacity=10)
    >>> for minute, key in enumerate([5, 6, 7]):
    ...     _ = table.find_or_insert(np.array([key], np.uint64), minute)
    >>> table.evict(2)[0].tolist()
    [5, 6]
    """

    def __init__(self, segments: Segments, state: npt.NDArray[np.int64], free: npt.NDArray[np.uint32]) -> None:
        self._segments, self._state, self._free = segments, state, free
        self.reset()

    def reset(self) -> None:
        """Forget which ids wait, after places changed otherwise than by ids being seen."""
        self._draw, self._limit, self._bound = -1, np.uint64(0), np.uint64(0)
        self._listed, self._cursor = NOBODY, 0
        """The ids with places up to the limit, in order, without those of the run."""
        self._run = NOBODY
        """The ids with places up to the bound, in order."""
        self._late: list[Waiting] = []
        """Ids that were added, or moved, up to the limit."""
        self._further: Listing | None = None
        """The ids that come after the limit."""
        self._redrawn: Listing | None = None
        """The ids that come first in the next draw, which is near."""

    def add(self, ids_N: Ids, counts_N: Index, new: Index, stamp: np.uint64) -> None:
        """Let the ids at the positions `new` wait if their places are low enough, seen `counts_N` times at `stamp`."""
        told = NewIds(ids_N, counts_N, new, stamp)
        if self._draw >= 0:
            low = told.between(np.uint64(0), self._limit, self._draw)
            self._late += [low] if len(low[0]) else []
        for listing in (self._further, self._redrawn):
            if listing is not None:
                listing.add(told)

    def evict(self, n: int, pinned: Packed, evicted: int, capacity: int) -> tuple[Ids, Packed]:
        """Remove the first n ids (or all) whose row's bit is not set in `pinned`; `evicted` were removed before.

        The draw is another one after every `capacity` of them. Returns the ids and their packed metadata.
        """
        ids_R, packed_R, done = np.empty(n, np.uint64), np.empty(n, np.uint64), 0
        wanted = max(1, 2 * (n + int(np.bitwise_count(pinned).sum())), int(self._state[SIZE]) // _SHARE)
        if self._draw != eviction_draw(evicted, capacity):
            self._redraw(eviction_draw(evicted, capacity), wanted)
        while True:
            done += self._take(pinned, ids_R[done:], packed_R[done:])
            if done == n or not self._go_on(n - done, wanted):
                break
        if self._limit == HIGHEST:
            self.reset()  # a list of all ids would only grow
        else:
            self._prepare(wanted, capacity - (evicted + done) % capacity)
        return ids_R[:done], packed_R[:done]

    def _redraw(self, draw: int, wanted: int) -> None:
        """Begin with the lowest ids of a new draw."""
        listing = self._redrawn
        if listing is None or listing.draw != draw:
            listing = Listing(self._segments, draw, np.uint64(0), wanted)
        self.reset()
        self._draw, self._further = draw, listing

    def _list_further(self, wanted: int) -> Listing:
        if self._further is None:
            self._further = Listing(self._segments, self._draw, self._limit, wanted)
        return self._further

    def _go_on(self, n: int, wanted: int) -> bool:
        """Let the next n of the ids that are listed join the run. Returns whether there are any."""
        if self._cursor == len(self._listed[0]):
            if self._limit == HIGHEST:
                return False
            listing = self._list_further(wanted)
            listing.advance(1.0)
            self._listed, self._cursor, self._limit, self._further = listing.in_order(), 0, listing.limit, None
            self._late += listing.late
        places, end = self._listed[0], self._cursor + n + n // 8 + 64
        if end < len(places):  # ids of one place join together
            end = int(np.searchsorted(places, places[end - 1], "right"))
        part = slice(self._cursor, end)
        self._run = joined([self._run, (places[part], self._listed[1][part])])
        self._cursor = min(end, len(places))
        self._bound = self._limit if self._cursor < end else self._run[0][-1]
        return True

    def _take(self, pinned: Packed, ids_R: Ids, packed_R: Packed) -> int:
        """Remove ids of the run until `ids_R` is full, or none is left. Returns their number."""
        late = joined(self._late)
        run = merged(self._run, sorted_by_place(up_to(self._bound, late), self._draw), self._draw)
        beyond_K = late[0] > self._bound
        further = self._limit if self._further is None else self._further.limit
        heap, aside = (tuple(np.empty(len(run[0]), np.uint64) for _ in range(2)) for _ in range(2))
        lines, order = self._segments, (np.uint64(max(0, self._draw)), self._bound, further, pinned)
        done, seen, size, n = eviction.evict(
            *lines.where, lines.counts_S, self._state, self._free, *order, *run, *heap, *aside, ids_R, packed_R
        )
        put_aside = aside[0][:n], aside[1][:n]
        self._run = run[0][seen:], run[1][seen:]
        self._late = [
            (late[0][beyond_K], late[1][beyond_K]),
            (heap[0][:size], heap[1][:size]),
            up_to(self._limit, put_aside),
        ]
        if self._further is not None:
            self._further.add_moved(put_aside)
        return int(done)

    def _prepare(self, wanted: int, left: int) -> None:
        """Search a part of the table for the ids that come next; the draw ends after `left` more evictions."""
        self._list_further(wanted).advance(self._cursor / max(1, len(self._listed[0])))
        if self._redrawn is None and left <= wanted:
            self._redrawn = Listing(self._segments, self._draw + 1, np.uint64(0), wanted + left)
        if self._redrawn is not None:
            self._redrawn.advance(1 - left / wanted)
