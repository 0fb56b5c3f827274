"""Rows on disk, each with its id and a sum over its bits, in 32-bit words.

Row r of `width` words of state has its words at weights[r * dim], and state, id and sum at state[r * (width + 4)].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, inlined, jit, prefetch
from embedding.kernels.lines import S32

SEAL = 4  # words beside the state: the id's halves, then the sum's
AHEAD = 16  # rows between a prefetch and its use
_LOW = U64(0xFFFFFFFF)


@inlined
def _ask(weights: Any, state: Any, dim: Any, width: Any, row: Any) -> None:
    for line in range(0, dim, 16):
        prefetch(weights, row * dim + line)
    for line in range(0, width, 16):
        prefetch(state, row * width + line)


@jit
def seal(
    weights: Any,
    state: Any,
    dim: Any,
    width: Any,
    rows_U: Any,
    ids_U: Any,
    factors: Any,
    from_weights: Any,
    from_state: Any,
    from_U: Any,
) -> None:
    """Copy the rows `from_U` of other arrays, which have no seals, to `rows_U`, and seal them."""
    for i in range(len(rows_U)):
        if i + AHEAD < len(rows_U):
            _ask(weights, state, dim, width + SEAL, np.int64(rows_U[i + AHEAD]))
            _ask(from_weights, from_state, dim, width, np.int64(from_U[i + AHEAD]))
        total, row, source = ONE, np.int64(rows_U[i]), np.int64(from_U[i])
        for d in range(dim):
            word = from_weights[source * dim + d]
            weights[row * dim + d] = word
            total += U64(word) * factors[d]
        begin = row * (width + SEAL)
        for k in range(width):
            word = from_state[source * width + k]
            state[begin + k] = word
            total += U64(word) * factors[dim + k]
        low, high = ids_U[i] & _LOW, ids_U[i] >> S32
        total += low * factors[dim + width] + high * factors[dim + width + 1]
        begin += width
        state[begin], state[begin + 1] = np.uint32(low), np.uint32(high)
        state[begin + 2], state[begin + 3] = np.uint32(total & _LOW), np.uint32(total >> S32)


@jit
def unseal(
    weights: Any,
    state: Any,
    dim: Any,
    width: Any,
    rows_U: Any,
    factors: Any,
    ids_U: Any,
    to_weights: Any,
    to_state: Any,
) -> Any:
    """Copy rows to the front of other arrays, without their seals. Returns how many are not as they were sealed."""
    damaged = 0
    for i in range(len(rows_U)):
        if i + AHEAD < len(rows_U):
            _ask(weights, state, dim, width + SEAL, np.int64(rows_U[i + AHEAD]))
        total, row = ONE, np.int64(rows_U[i])
        for d in range(dim):
            word = weights[row * dim + d]
            to_weights[i * dim + d] = word
            total += U64(word) * factors[d]
        begin = row * (width + SEAL)
        for k in range(width):
            word = state[begin + k]
            to_state[i * width + k] = word
            total += U64(word) * factors[dim + k]
        begin += width
        low, high = U64(state[begin]), U64(state[begin + 1])
        total += low * factors[dim + width] + high * factors[dim + width + 1]
        ids_U[i] = low | (high << S32)
        damaged += 1 if total != U64(state[begin + 2]) | (U64(state[begin + 3]) << S32) else 0
    return damaged
