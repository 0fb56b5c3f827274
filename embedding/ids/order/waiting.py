"""Ids that wait for their eviction. Suffixes: N ids of a call, K ids that wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedding.kernels.id_table import eviction, place_order
from embedding.store import Ids, Index

Waiting = tuple[Ids, Ids]
"""The places and mixed ids [K] of ids, see `embedding.kernels.id_table.eviction`."""
HIGHEST = ~np.uint64(0)
"""The highest place."""
NOBODY: Waiting = (np.zeros(0, np.uint64), np.zeros(0, np.uint64))


@dataclass(frozen=True, slots=True)
class NewIds:
    """Ids at the positions `new` of a call, seen `counts_N` times at `stamp`."""

    ids_N: Ids
    counts_N: Index
    new: Index
    stamp: np.uint64

    def between(self, above: np.uint64, limit: np.uint64, draw: int) -> Waiting:
        """Those with above < place <= limit."""
        if self.stamp << np.uint64(40) > limit:
            return NOBODY
        places_K, keys_K = np.empty(len(self.new) + 1, np.uint64), np.empty(len(self.new) + 1, np.uint64)
        told = self.ids_N, self.counts_N, self.new, self.stamp
        n = eviction.add(*told, np.uint64(draw), above, limit, places_K, keys_K)
        return places_K[:n], keys_K[:n]


def up_to(limit: np.uint64, ids_K: Waiting) -> Waiting:
    """Those with a place up to the limit."""
    low_K = ids_K[0] <= limit
    return ids_K[0][low_K], ids_K[1][low_K]


def joined(parts: Sequence[Waiting]) -> Waiting:
    """All of the parts, one after the other."""
    places, keys = zip(NOBODY, *parts, strict=True)
    return np.concatenate(places), np.concatenate(keys)


def sorted_by_place(ids_K: Waiting, draw: int) -> Waiting:
    """The same in the order of a draw; the arrays given are used up.

    They may be parts of larger ones, whose memory is free when those returned are arrays of their own.
    """
    other_K = np.empty_like(ids_K[0]), np.empty_like(ids_K[1])
    if not place_order.sort(*ids_K, *other_K, np.uint64(max(0, draw))):
        other_K[0][:], other_K[1][:] = ids_K
    return other_K


def merged(ids_K: Waiting, more: Waiting, draw: int) -> Waiting:
    """Those of two lists that are in the order of a draw, in this order."""
    n = len(ids_K[0]) + len(more[0])
    all_K = np.empty(n, np.uint64), np.empty(n, np.uint64)
    place_order.merge(*ids_K, *more, *all_K, np.uint64(max(0, draw)))
    return all_K
