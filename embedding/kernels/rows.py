"""Row values: initialise, gather, and one fused optimizer step a distinct id.

Suffixes: N ids, U distinct ids, D dimension. Weights and state are flat: row r begins at weights[r * D].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, ZERO, inlined, jit, mix, prefetch, trailing_zeros

AHEAD = 24
_GOLDEN = U64(0x9E3779B97F4A7C15)
F32 = np.float32


@jit
def initialise(weights: Any, state: Any, dim: Any, width: Any, rows: Any, ids: Any, salt: Any, scale: Any) -> None:
    """Fresh values from the id, as `embedding.hashing.initial_rows`, and an optimizer state of zeros."""
    for i in range(len(rows)):
        key = mix(ids[i] ^ salt)
        w, s = rows[i] * dim, rows[i] * width
        for d in range(dim):
            bits = F32(mix(key + U64(d + 1) * _GOLDEN) >> U64(40))
            weights[w + d] = (bits * F32(2.0**-23) - F32(1)) * scale
        for k in range(width):
            state[s + k] = F32(0)


@jit
def gather(weights: Any, dim: Any, rows_U: Any, inverse_N: Any, rows_N: Any, values: Any) -> None:
    """rows_N and values [N, D] of each id; zeros where the row is -1."""
    n = len(inverse_N)
    for i in range(n):
        if i + AHEAD < n:
            ahead = max(rows_U[inverse_N[i + AHEAD]], 0) * dim
            for line in range(0, dim, 16):
                prefetch(weights, ahead + line)
        row = rows_U[inverse_N[i]]
        rows_N[i] = row
        if row >= 0:
            for d in range(dim):
                values[i * dim + d] = weights[row * dim + d]
        else:
            for d in range(dim):
                values[i * dim + d] = F32(0)


@jit
def mark(bitmap: Any, rows: Any) -> None:
    """Set the bits of rows; -1 is passed over."""
    for i in range(len(rows)):
        if rows[i] >= 0:
            row = U64(rows[i])
            bitmap[row >> U64(6)] |= ONE << (row & U64(63))


@jit
def unmark(bitmap: Any, rows: Any) -> None:
    """Clear the bits of rows; -1 is passed over."""
    for i in range(len(rows)):
        if rows[i] >= 0:
            row = U64(rows[i])
            bitmap[row >> U64(6)] &= ~(ONE << (row & U64(63)))


@inlined
def _sum(grads: Any, dim: Any, members: Any, begin: Any, end: Any, total: Any) -> None:
    """total [D] = the gradients of one id, added in order of appearance."""
    first = members[begin] * dim
    for d in range(dim):
        total[d] = grads[first + d]
    for k in range(begin + 1, end):
        at = members[k] * dim
        for d in range(dim):
            total[d] += grads[at + d]


@inlined
def _ahead(weights: Any, state: Any, dim: Any, width: Any, rows_U: Any, q: Any) -> None:
    if q + AHEAD < len(rows_U):
        row = max(rows_U[q + AHEAD], 0)
        for line in range(0, dim, 16):
            prefetch(weights, row * dim + line)
        for line in range(0, width, 16):
            prefetch(state, row * width + line)


@jit
def rowwise_adagrad(
    weights: Any, state: Any, dim: Any, rows_U: Any, start: Any, members: Any, grads: Any, lr: Any, eps: Any
) -> None:
    """state += mean(g^2); w -= lr * g / (sqrt(state) + eps), as FBGEMM's EXACT_ROWWISE_ADAGRAD."""
    total = np.empty(dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, 1, rows_U, q)
        row = rows_U[q]
        if row < 0:
            continue
        _sum(grads, dim, members, start[q], start[q + 1], total)
        square = F32(0)
        for d in range(dim):
            square += total[d] * total[d]
        state[row] += square / F32(dim)
        step = lr / (np.sqrt(state[row]) + eps)
        for d in range(dim):
            weights[row * dim + d] -= step * total[d]


@jit
def adagrad(
    weights: Any, state: Any, dim: Any, rows_U: Any, start: Any, members: Any, grads: Any, lr: Any, eps: Any
) -> None:
    """state += g^2; w -= lr * g / (sqrt(state) + eps), as torch.optim.Adagrad on sparse gradients."""
    total = np.empty(dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, dim, rows_U, q)
        row = rows_U[q]
        if row < 0:
            continue
        _sum(grads, dim, members, start[q], start[q + 1], total)
        for d in range(dim):
            at = row * dim + d
            state[at] += total[d] * total[d]
            weights[at] -= lr * total[d] / (np.sqrt(state[at]) + eps)


@jit
def adam(
    weights: Any,
    state: Any,
    dim: Any,
    rows_U: Any,
    start: Any,
    members: Any,
    grads: Any,
    rate: Any,
    eps: Any,
    beta1: Any,
    beta2: Any,
) -> None:
    """As torch.optim.SparseAdam; state is m [D] then v [D], `rate` is lr * sqrt(1 - beta2^t) / (1 - beta1^t)."""
    total = np.empty(dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, 2 * dim, rows_U, q)
        row = rows_U[q]
        if row < 0:
            continue
        _sum(grads, dim, members, start[q], start[q + 1], total)
        for d in range(dim):
            m, v = 2 * row * dim + d, 2 * row * dim + dim + d
            state[m] += (F32(1) - beta1) * (total[d] - state[m])
            state[v] += (F32(1) - beta2) * (total[d] * total[d] - state[v])
            weights[row * dim + d] -= rate * state[m] / (np.sqrt(state[v]) + eps)


@jit
def ftrl(
    weights: Any,
    state: Any,
    dim: Any,
    rows_U: Any,
    start: Any,
    members: Any,
    grads: Any,
    lr: Any,
    eps: Any,
    l1: Any,
    l2: Any,
) -> None:
    """FTRL-Proximal (McMahan et al. 2013, algorithm 1) with alpha = lr and beta = eps; state is z [D] then n [D]."""
    total = np.empty(dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, 2 * dim, rows_U, q)
        row = rows_U[q]
        if row < 0:
            continue
        _sum(grads, dim, members, start[q], start[q + 1], total)
        for d in range(dim):
            g = total[d]
            if g == F32(0):
                continue
            z, n, w = 2 * row * dim + d, 2 * row * dim + dim + d, row * dim + d
            grown = state[n] + g * g
            sigma = (np.sqrt(grown) - np.sqrt(state[n])) / lr
            state[z] += g - sigma * weights[w]
            state[n] = grown
            shrunk = max(abs(state[z]) - l1, F32(0))
            sign = F32(1) if state[z] < F32(0) else F32(-1)
            weights[w] = sign * shrunk / ((eps + np.sqrt(grown)) / lr + l2)


@jit
def merge(target: Any, source: Any) -> None:
    """Add the bits of `source` to `target`."""
    for w in range(len(source)):
        target[w] |= source[w]


@jit
def count_bits(bitmap: Any) -> Any:
    """How many bits are set."""
    n = 0
    for w in range(len(bitmap)):
        word = bitmap[w]
        while word != ZERO:
            n += 1
            word &= word - ONE
    return n


@jit
def list_bits(bitmap: Any, rows: Any) -> None:
    """The places of the set bits, ascending."""
    n = 0
    for w in range(len(bitmap)):
        word = bitmap[w]
        while word != ZERO:
            rows[n] = (w << 6) + np.int64(trailing_zeros(word))
            n += 1
            word &= word - ONE
