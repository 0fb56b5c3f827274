"""Sets of rows as bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, ZERO, count_ones, jit, prefetch, trailing_zeros

AHEAD = 32  # rows between a prefetch and its use: a training step leaves nothing of a bitmap in the near caches


@jit
def mark(bitmap: Any, rows: Any) -> None:
    """Set the bits of rows; -1 is ignored."""
    for i in range(len(rows)):
        if i + AHEAD < len(rows):
            prefetch(bitmap, U64(rows[i + AHEAD]) >> U64(6))  # -1 prefetches outside the array, which is harmless
        if rows[i] >= 0:
            row = U64(rows[i])
            bitmap[row >> U64(6)] |= ONE << (row & U64(63))


@jit
def unmark(bitmap: Any, rows: Any) -> None:
    """Clear the bits of rows; -1 is ignored."""
    for i in range(len(rows)):
        if rows[i] >= 0:
            row = U64(rows[i])
            bitmap[row >> U64(6)] &= ~(ONE << (row & U64(63)))


@jit
def merge(target: Any, source: Any) -> None:
    """Add the bits of `source` to `target`."""
    for w in range(len(source)):
        target[w] |= source[w]


@jit
def count_bits(bitmap: Any) -> Any:
    """The number of set bits."""
    n = ZERO
    for w in range(len(bitmap)):
        n += count_ones(bitmap[w])
    return np.int64(n)


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
