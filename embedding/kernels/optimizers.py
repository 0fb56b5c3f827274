"""Fused sparse steps of the rules with state per weight.

Each returns the number of ids whose step was skipped, because a weight or state would not have been finite after it.

Suffixes: N ids, U distinct ids, D dimension. Arrays are flat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import inlined, jit, prefetch

AHEAD = 24
F32 = np.float32
INFINITY = F32(np.inf)


@inlined
def clip_norm(total: Any, dim: Any, max_norm: Any) -> None:
    """Scale total [D] down to this norm, summed in double precision from the first column to the last."""
    squares = 0.0
    for d in range(dim):
        squares += np.float64(total[d]) * np.float64(total[d])
    norm = np.sqrt(squares)
    if norm > max_norm:
        scale = F32(max_norm / norm)
        for d in range(dim):
            total[d] *= scale


@inlined
def add_decay(total: Any, weights: Any, first: Any, dim: Any, l2: Any) -> None:
    """total [D] += l2 w, the gradient of l2 / 2 |w|^2, for the row that begins at weights[first]."""
    for d in range(dim):
        total[d] += l2 * weights[first + d]


@inlined
def _sum(grads: Any, dim: Any, members: Any, begin: Any, end: Any, max_norm: Any, total: Any) -> None:
    """total [D] = the gradients of one id, added in order of appearance, and clipped."""
    first = np.int64(members[begin]) * dim
    for d in range(dim):
        total[d] = grads[first + d]
    for k in range(begin + 1, end):
        at = np.int64(members[k]) * dim
        for d in range(dim):
            total[d] += grads[at + d]
    if max_norm < INFINITY:
        clip_norm(total, dim, max_norm)


@inlined
def _write(weights: Any, state: Any, row: Any, dim: Any, width: Any, new_weights: Any, new_state: Any) -> Any:
    """Write a row's new weights and state if all of them are finite. Returns whether they are not."""
    finite = True
    for d in range(dim):
        finite &= abs(new_weights[d]) < INFINITY
    for k in range(width):
        finite &= abs(new_state[k]) < INFINITY
    if not finite:
        return True
    for d in range(dim):
        weights[row * dim + d] = new_weights[d]
    for k in range(width):
        state[row * width + k] = new_state[k]
    return False


@inlined
def _ahead(weights: Any, state: Any, dim: Any, width: Any, rows_U: Any, q: Any) -> None:
    if q + AHEAD < len(rows_U):
        row = np.int64(max(rows_U[q + AHEAD], 0))
        for line in range(0, dim, 16):
            prefetch(weights, row * dim + line)
        for line in range(0, width, 16):
            prefetch(state, row * width + line)


@jit
def adagrad(
    weights: Any,
    state: Any,
    dim: Any,
    rows_U: Any,
    start: Any,
    members: Any,
    grads: Any,
    max_norm: Any,
    l2: Any,
    lr: Any,
    eps: Any,
) -> Any:
    """state += g^2; w -= lr * g / (sqrt(state) + eps), as torch.optim.Adagrad on sparse gradients."""
    total, skipped = np.empty(dim, np.float32), 0
    new_weights, new_state = np.empty(dim, np.float32), np.empty(dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, dim, rows_U, q)
        row = np.int64(rows_U[q])
        if row < 0:
            continue
        _sum(grads, dim, members, start[q], start[q + 1], max_norm, total)
        if l2 > F32(0):
            add_decay(total, weights, row * dim, dim, l2)
        for d in range(dim):
            at = row * dim + d
            new_state[d] = state[at] + total[d] * total[d]
            new_weights[d] = weights[at] - lr * total[d] / (np.sqrt(new_state[d]) + eps)
        skipped += _write(weights, state, row, dim, dim, new_weights, new_state)
    return skipped


@jit
def adam(
    weights: Any,
    state: Any,
    dim: Any,
    rows_U: Any,
    start: Any,
    members: Any,
    grads: Any,
    max_norm: Any,
    l2: Any,
    rate: Any,
    eps: Any,
    beta1: Any,
    beta2: Any,
) -> Any:
    """As torch.optim.SparseAdam; state is m [D] then v [D], `rate` is lr * sqrt(1 - beta2^t) / (1 - beta1^t)."""
    total, skipped = np.empty(dim, np.float32), 0
    new_weights, new_state = np.empty(dim, np.float32), np.empty(2 * dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, 2 * dim, rows_U, q)
        row = np.int64(rows_U[q])
        if row < 0:
            continue
        _sum(grads, dim, members, start[q], start[q + 1], max_norm, total)
        if l2 > F32(0):
            add_decay(total, weights, row * dim, dim, l2)
        for d in range(dim):
            m, v = state[2 * row * dim + d], state[2 * row * dim + dim + d]
            m += (F32(1) - beta1) * (total[d] - m)
            v += (F32(1) - beta2) * (total[d] * total[d] - v)
            new_state[d], new_state[dim + d] = m, v
            new_weights[d] = weights[row * dim + d] - rate * m / (np.sqrt(v) + eps)
        skipped += _write(weights, state, row, dim, 2 * dim, new_weights, new_state)
    return skipped


@jit
def ftrl(
    weights: Any,
    state: Any,
    dim: Any,
    rows_U: Any,
    start: Any,
    members: Any,
    grads: Any,
    max_norm: Any,
    lr: Any,
    eps: Any,
    l1: Any,
    l2: Any,
) -> Any:
    """FTRL-Proximal (McMahan et al. 2013, algorithm 1) with alpha = lr and beta = eps; state is z [D] then n [D]."""
    total, skipped = np.empty(dim, np.float32), 0
    new_weights, new_state = np.empty(dim, np.float32), np.empty(2 * dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, 2 * dim, rows_U, q)
        row = np.int64(rows_U[q])
        if row < 0:
            continue
        _sum(grads, dim, members, start[q], start[q + 1], max_norm, total)
        for d in range(dim):
            g, w = total[d], weights[row * dim + d]
            z, n = state[2 * row * dim + d], state[2 * row * dim + dim + d]
            if g != F32(0):
                grown = n + g * g
                z += g - (np.sqrt(grown) - np.sqrt(n)) / lr * w
                n = grown
                shrunk = max(abs(z) - l1, F32(0))
                sign = F32(1) if z < F32(0) else F32(-1)
                w = sign * shrunk / ((eps + np.sqrt(grown)) / lr + l2)
            new_weights[d], new_state[d], new_state[dim + d] = w, z, n
        skipped += _write(weights, state, row, dim, 2 * dim, new_weights, new_state)
    return skipped
