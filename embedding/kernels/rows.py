"""Row values: initialise, gather, and the exact row-wise Adagrad step, compiled for each dimension.

Suffixes: N ids, U distinct ids, D dimension. Weights and state are flat: row r begins at weights[r * D].
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from embedding.kernels.bits import GOLDEN, U64, jit, mix, prefetch
from embedding.kernels.optimizers import INFINITY, add_decay, clip_norm
from embedding.kernels.vectors import add_row, copy_row, square_sum, subtract_scaled

GATHER_AHEAD, UPDATE_AHEAD = 48, 32  # rows of 16 floats between a prefetch and its use
F32 = np.float32


@jit
def initialise(weights: Any, state: Any, dim: Any, width: Any, rows: Any, ids: Any, salt: Any, scale: Any) -> None:
    """Fresh values from the id, as `embedding.hashing.initial_rows`, and an optimizer state of zeros."""
    for i in range(len(rows)):
        if i + UPDATE_AHEAD < len(rows):
            prefetch(weights, np.int64(rows[i + UPDATE_AHEAD]) * dim)
            prefetch(state, np.int64(rows[i + UPDATE_AHEAD]) * width)
        key = mix(ids[i] ^ salt)
        w, s = np.int64(rows[i]) * dim, np.int64(rows[i]) * width
        for d in range(dim):
            bits = F32(mix(key + U64(d + 1) * GOLDEN) >> U64(40))
            weights[w + d] = (bits * F32(2.0**-23) - F32(1)) * scale
        for k in range(width):
            state[s + k] = F32(0)


@cache
def gather_of(dim: int) -> Any:
    """gather(weights, rows_U, inverse_N, rows_N, values): rows_N and values [N, D] of each id, zeros for row -1."""
    ahead = max(8, GATHER_AHEAD * 16 // max(16, dim))

    @jit
    def gather(weights: Any, rows_U: Any, inverse_N: Any, rows_N: Any, values: Any) -> None:
        n = len(inverse_N)
        for i in range(n):
            if i + ahead < n:
                begin = np.int64(max(rows_U[inverse_N[i + ahead]], 0)) * dim
                for line in range(0, dim, 16):
                    prefetch(weights, begin + line)
            row = np.int64(rows_U[inverse_N[i]])
            rows_N[i] = row
            if row >= 0:
                copy_row(values, i * dim, weights, row * dim, dim)
            else:
                for d in range(dim):
                    values[i * dim + d] = F32(0)

    return gather


@cache
def rowwise_adagrad_of(dim: int) -> Any:
    """state += mean(g^2); w -= lr * g / (sqrt(state) + eps), as FBGEMM's EXACT_ROWWISE_ADAGRAD.

    step(weights, state, rows_U, start, members, grads, max_norm, l2, lr, eps) sums the gradients of an id in order
    of appearance, clips the sum and adds l2 w. Returns the number of ids whose step was skipped, as it would not have
    been finite.
    """
    ahead = max(4, UPDATE_AHEAD * 16 // max(16, dim))

    @jit
    def step(
        weights: Any,
        state: Any,
        rows_U: Any,
        start: Any,
        members: Any,
        grads: Any,
        max_norm: Any,
        l2: Any,
        lr: Any,
        eps: Any,
    ) -> Any:
        total, skipped = np.empty(dim, np.float32), 0
        n = len(rows_U)
        for q in range(n):
            if q + ahead < n:
                row = np.int64(max(rows_U[q + ahead], 0))
                grad = np.int64(members[start[q + ahead]]) * dim
                prefetch(state, row)
                for line in range(0, dim, 16):
                    prefetch(weights, row * dim + line)
                    prefetch(grads, grad + line)
            row = np.int64(rows_U[q])
            if row < 0:
                continue
            begin, end = start[q], start[q + 1]
            grad = np.int64(members[begin]) * dim
            if end == begin + 1 and max_norm == INFINITY and l2 == F32(0):
                grown = state[row] + square_sum(grads, grad, dim) / F32(dim)
                rate = lr / (np.sqrt(grown) + eps)
                if grown < INFINITY and rate < INFINITY:
                    state[row] = grown
                    subtract_scaled(weights, row * dim, grads, grad, dim, rate)
                else:
                    skipped += 1
            else:
                copy_row(total, 0, grads, grad, dim)
                for k in range(begin + 1, end):
                    add_row(total, 0, grads, np.int64(members[k]) * dim, dim)
                if max_norm < INFINITY:
                    clip_norm(total, dim, max_norm)
                if l2 > F32(0):
                    add_decay(total, weights, row * dim, dim, l2)
                grown = state[row] + square_sum(total, 0, dim) / F32(dim)
                rate = lr / (np.sqrt(grown) + eps)
                if grown < INFINITY and rate < INFINITY:
                    state[row] = grown
                    subtract_scaled(weights, row * dim, total, 0, dim, rate)
                else:
                    skipped += 1
        return skipped

    return step


@jit
def keep(
    weights: Any,
    state: Any,
    dim: Any,
    width: Any,
    rows: Any,
    from_row: Any,
    place: Any,
    kept_weights: Any,
    kept_state: Any,
    kept: Any,
) -> Any:
    """Copy rows from `from_row` on that were not copied before; place[row] is 1 + where. Returns the number kept."""
    for i in range(len(rows)):
        row = np.int64(rows[i])
        if row < from_row or place[row] != 0:
            continue
        for d in range(dim):
            kept_weights[kept * dim + d] = weights[row * dim + d]
        for k in range(width):
            kept_state[kept * width + k] = state[row * width + k]
        kept += 1
        place[row] = kept
    return kept
