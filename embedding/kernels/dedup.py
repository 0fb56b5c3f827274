"""Distinct ids of a batch, and the positions of each. Suffixes: N ids, U distinct ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, jit, mix, prefetch

AHEAD = 16
_S24, _S40, _S48 = U64(24), U64(40), U64(48)
_M24 = U64(0xFFFFFF)


@jit
def dedup(ids_N: Any, scratch: Any, stamp: Any, unique_N: Any, inverse_N: Any, counts_N: Any) -> Any:
    """Distinct ids in order of first appearance, with counts; ids_N[i] == unique_N[inverse_N[i]]. Returns U.

    `scratch` has a power of two of at least 2 N slots (stamp 16 | tag 24 | index 24); slots of another stamp are
    empty, so that nothing is cleared between batches. N is at most 2^24.
    """
    n, u = len(ids_N), 0
    mask = U64(len(scratch) - 1)
    ring = np.empty(64, np.uint64)
    for i in range(n + AHEAD):
        if i < n:
            h = mix(ids_N[i])
            ring[i & 63] = h
            prefetch(scratch, h & mask)
        j = i - AHEAD
        if j < 0:
            continue
        h = ring[j & 63]
        slot = h & mask
        tag = (stamp << _S24) | (h >> _S40)
        while True:
            word = scratch[slot]
            if (word >> _S24) == tag and unique_N[word & _M24] == ids_N[j]:
                inverse_N[j] = word & _M24
                counts_N[word & _M24] += 1
                break
            if (word >> _S48) != stamp:
                scratch[slot] = (tag << _S24) | U64(u)
                unique_N[u], counts_N[u], inverse_N[j] = ids_N[j], 1, u
                u += 1
                break
            slot = (slot + ONE) & mask
    return u


@jit
def group(inverse_N: Any, counts_U: Any, start: Any, members_N: Any) -> None:
    """Positions of each distinct id, in order: those of u are members_N[start[u]:start[u + 1]]."""
    u = len(counts_U)
    total = 0
    for q in range(u):
        start[q + 1] = total
        total += counts_U[q]
    start[0] = 0
    for i in range(len(inverse_N)):
        q = inverse_N[i]
        members_N[start[q + 1]] = i
        start[q + 1] += 1
