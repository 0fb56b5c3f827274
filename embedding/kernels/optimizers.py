"""Fused sparse steps of the rules with state per weight.

Suffixes: N ids, U distinct ids, D dimension. Arrays are flat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import inlined, jit, prefetch

AHEAD = 24
F32 = np.float32


@inlined
def _sum(grads: Any, dim: Any, members: Any, begin: Any, end: Any, total: Any) -> None:
    """total [D] = the gradients of one id, added in order of appearance."""
    first = np.int64(members[begin]) * dim
    for d in range(dim):
        total[d] = grads[first + d]
    for k in range(begin + 1, end):
        at = np.int64(members[k]) * dim
        for d in range(dim):
            total[d] += grads[at + d]


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
    weights: Any, state: Any, dim: Any, rows_U: Any, start: Any, members: Any, grads: Any, lr: Any, eps: Any
) -> None:
    """state += g^2; w -= lr * g / (sqrt(state) + eps), as torch.optim.Adagrad on sparse gradients."""
    total = np.empty(dim, np.float32)
    for q in range(len(rows_U)):
        _ahead(weights, state, dim, dim, rows_U, q)
        row = np.int64(rows_U[q])
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
        row = np.int64(rows_U[q])
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
        row = np.int64(rows_U[q])
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
