"""Work on bytes that kernels share, compiled by Numba: whose cache notices a change here in no other file's kernels.

Places are unsigned in loops: of a signed one Numba asks at every byte whether it counts from the end.
"""

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
    to, first = _U(at), _U(start)
    for n in range(_U(stop - start)):
        out[to + n] = data[first + n]
    return at + stop - start


@jit
def equal_bytes(a: Any, start: int, stop: int, b: Any, begin: int, end: int) -> bool:
    if stop - start != end - begin:
        return False
    of_a, of_b = _U(start), _U(begin)
    for n in range(_U(stop - start)):  # noqa: SIM110 - compiled
        if a[of_a + n] != b[of_b + n]:
            return False
    return True


@jit
def hash_bytes(data: Any, start: int, stop: int) -> Any:
    """Of 64 bits, for tables in memory alone."""
    h, at, end = _U(stop - start) * _FACTOR, _U(start), _U(stop)
    while at + _U(8) <= end:
        h = _stirred(h, _word(data, at))
        at += _U(8)
    if at < end:
        word = _U(0)
        for n in range(end - at):
            word |= _U(data[at + n]) << _U(8) * n
        h = _stirred(h, word)
    return h * _FACTOR


@jit
def _stirred(h: Any, word: Any) -> Any:
    h = (h ^ word) * _FACTOR
    return h ^ h >> _U(32)


@jit
def _word(data: Any, at: Any) -> Any:
    """Eight bytes, little-endian: one load for the compiler."""
    return _half(data, at) | _half(data, at + _U(4)) << _U(32)


@jit
def _half(data: Any, at: Any) -> Any:
    one, two, three, four = data[at], data[at + _U(1)], data[at + _U(2)], data[at + _U(3)]
    return _U(one) | _U(two) << _U(8) | _U(three) << _U(16) | _U(four) << _U(24)
