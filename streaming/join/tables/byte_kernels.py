"""Work on bytes that kernels share, compiled by Numba: whose cache notices a change here in no other file's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

jit: Any = njit(nogil=True, cache=True, error_model="numpy")

_U: Any = np.uint64
_FACTOR = _U(0x9E3779B97F4A7C15)


@jit
def add_text(out: Any, at: int, text: Any, n: int) -> int:
    """Copy text number `n`; returns the end of the copy."""
    end: int = copy_bytes(out, at, text.data, text.offsets[n], text.offsets[n + 1])
    return end


@jit
def copy_bytes(out: Any, at: int, data: Any, start: int, stop: int) -> int:
    """Returns the end of the copy."""
    for n in range(stop - start):
        out[at + n] = data[start + n]
    return at + stop - start


@jit
def equal_bytes(a: Any, start: int, stop: int, b: Any, begin: int, end: int) -> bool:
    if stop - start != end - begin:
        return False
    for n in range(stop - start):  # noqa: SIM110 - compiled
        if a[start + n] != b[begin + n]:
            return False
    return True


@jit
def hash_bytes(data: Any, start: int, stop: int) -> Any:
    """Of 64 bits, for tables in memory alone."""
    h = _U(stop - start) * _FACTOR
    while start < stop:
        word = _U(0)
        for n in range(min(stop - start, 8)):
            word |= _U(data[start + n]) << _U(8 * n)
        h = (h ^ word) * _FACTOR
        h ^= h >> _U(32)
        start += 8
    return h * _FACTOR
