"""Rows on disk in 32-bit words: values, optimizer state, the id's two halves, and the two halves of a sum over these.

A row of `dim` values and `width` words of state takes dim + width + SEAL words, in one place: a page is read for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, inlined, jit, prefetch
from embedding.kernels.id_table.lines import S32

SEAL = 4
AHEAD = 16  # rows between a prefetch and its use
_LOW = U64(0xFFFFFFFF)


@inlined
def _ask(words: Any, row: Any, width: Any) -> None:
    """Ask for a row of `width` words."""
    for line in range(0, width + 15, 16):
        prefetch(words, row * width + min(line, width - 1))


@jit
def seal(
    records: Any,
    dim: Any,
    width: Any,
    rows_U: Any,
    ids_U: Any,
    factors: Any,
    from_weights: Any,
    from_state: Any,
    from_U: Any,
) -> None:
    """Write the rows `from_U` of other arrays to `rows_U`, sealed."""
    size = dim + width + SEAL
    for i in range(len(rows_U)):
        if i + AHEAD < len(rows_U):
            _ask(records, np.int64(rows_U[i + AHEAD]), size)
            _ask(from_weights, np.int64(from_U[i + AHEAD]), dim)
            _ask(from_state, np.int64(from_U[i + AHEAD]), width)
        total, at, source = ONE, np.int64(rows_U[i]) * size, np.int64(from_U[i])
        for d in range(dim):
            word = from_weights[source * dim + d]
            records[at + d] = word
            total += U64(word) * factors[d]
        at += dim
        for k in range(width):
            word = from_state[source * width + k]
            records[at + k] = word
            total += U64(word) * factors[dim + k]
        at += width
        low, high = ids_U[i] & _LOW, ids_U[i] >> S32
        total += low * factors[dim + width] + high * factors[dim + width + 1]
        records[at], records[at + 1] = np.uint32(low), np.uint32(high)
        records[at + 2], records[at + 3] = np.uint32(total & _LOW), np.uint32(total >> S32)


@jit
def unseal(
    records: Any, dim: Any, width: Any, rows_U: Any, factors: Any, ids_U: Any, to_weights: Any, to_state: Any
) -> Any:
    """Copy rows to the front of other arrays, without their seals. Returns how many are not as they were sealed."""
    damaged, size = 0, dim + width + SEAL
    for i in range(len(rows_U)):
        if i + AHEAD < len(rows_U):
            _ask(records, np.int64(rows_U[i + AHEAD]), size)
        total, at = ONE, np.int64(rows_U[i]) * size
        for d in range(dim):
            word = records[at + d]
            to_weights[i * dim + d] = word
            total += U64(word) * factors[d]
        at += dim
        for k in range(width):
            word = records[at + k]
            to_state[i * width + k] = word
            total += U64(word) * factors[dim + k]
        at += width
        low, high = U64(records[at]), U64(records[at + 1])
        total += low * factors[dim + width] + high * factors[dim + width + 1]
        ids_U[i] = low | (high << S32)
        damaged += 1 if total != U64(records[at + 2]) | (U64(records[at + 3]) << S32) else 0
    return damaged
