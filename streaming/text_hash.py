"""xxh3_64 of many texts in one call, the same numbers as the package `xxhash` gives.

Source: the specification of XXH3 (github.com/Cyan4973/xxHash, 0.8). Texts above 240 bytes go to that package.
Shape suffix: T texts.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit
from xxhash import xxh3_64_intdigest

Places = npt.NDArray[np.int64]

LONGEST: Final = 240
_SECRET: Final = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
        "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    np.uint8,
)
_U: Any = np.uint64
_P1, _P2, _P3 = _U(0x9E3779B185EBCA87), _U(0xC2B2AE3D27D4EB4F), _U(0x165667B19E3779F9)
_MIX, _END = _U(0x9FB21C651E98DF25), _U(0x165667919E3779F9)

jit: Any = njit(nogil=True, cache=True, error_model="numpy")


def xxh3_texts(data: npt.NDArray[np.uint8], starts_T: Places, stops_T: Places, seed: int = 0) -> npt.NDArray[np.uint64]:
    """The hash [T] of each text, which is `data[start:stop]`.

    >>> data = np.frombuffer(b"onetwo", np.uint8)
    >>> found_T = xxh3_texts(data, np.array([0, 3]), np.array([3, 6]), seed=7)
    >>> found_T.tolist() == [xxh3_64_intdigest(text, seed=7) for text in (b"one", b"two")]
    True
    """
    hashes_T = np.empty(len(starts_T), np.uint64)
    if _hash_all(data, starts_T, stops_T, _U(seed), hashes_T):
        for n in np.flatnonzero(stops_T - starts_T > LONGEST).tolist():
            hashes_T[n] = xxh3_64_intdigest(data[starts_T[n] : stops_T[n]].tobytes(), seed=seed)
    return hashes_T


@jit
def _hash_all(data: Any, starts_T: Any, stops_T: Any, seed: Any, out_T: Any) -> bool:
    """Whether there is a text that is too long, whose place in `out_T` is left."""
    longer = False
    for n in range(len(starts_T)):
        start, size = starts_T[n], stops_T[n] - starts_T[n]
        if size > LONGEST:
            longer = True
        elif size > 16:
            out_T[n] = _of_many(data, start, size, seed)
        elif size > 8:
            out_T[n] = _of_16(data, start, size, seed)
        elif size > 3:
            out_T[n] = _of_8(data, start, size, seed)
        else:
            out_T[n] = _of_3(data, start, size, seed)
    return longer


@jit
def _of_3(data: Any, at: int, size: int, seed: Any) -> Any:
    if not size:
        return _avalanche_64(seed ^ _word(_SECRET, 56) ^ _word(_SECRET, 64))
    first, middle, last = _U(data[at]), _U(data[at + (size >> 1)]), _U(data[at + size - 1])
    combined = first << _U(16) | middle << _U(24) | last | _U(size) << _U(8)
    return _avalanche_64(combined ^ (_half(_SECRET, 0) ^ _half(_SECRET, 4)) + seed)


@jit
def _of_8(data: Any, at: int, size: int, seed: Any) -> Any:
    low = seed & _U(0xFFFFFFFF)
    swapped = low >> _U(24) | low >> _U(8) & _U(0xFF00) | (low & _U(0xFF00)) << _U(8) | (low & _U(0xFF)) << _U(24)
    seed ^= swapped << _U(32)
    flip = (_word(_SECRET, 8) ^ _word(_SECRET, 16)) - seed
    h = _half(data, at + size - 4) + (_half(data, at) << _U(32)) ^ flip
    h ^= _turned(h, 49) ^ _turned(h, 24)
    h *= _MIX
    h ^= (h >> _U(35)) + _U(size)
    h *= _MIX
    return h ^ h >> _U(28)


@jit
def _of_16(data: Any, at: int, size: int, seed: Any) -> Any:
    low = _word(data, at) ^ (_word(_SECRET, 24) ^ _word(_SECRET, 32)) + seed
    high = _word(data, at + size - 8) ^ (_word(_SECRET, 40) ^ _word(_SECRET, 48)) - seed
    swapped = _U(0)
    for n in range(8):
        swapped |= (low >> _U(8 * n) & _U(0xFF)) << _U(56 - 8 * n)
    return _avalanche(_U(size) + swapped + high + _folded(low, high))


@jit
def _of_many(data: Any, at: int, size: int, seed: Any) -> Any:
    """17 to 240 bytes."""
    acc, end = _U(size) * _P1, at + size
    if size <= 128:
        for n in range((size - 1) // 32, -1, -1):
            acc += _mixed(data, at + 16 * n, 32 * n, seed) + _mixed(data, end - 16 * (n + 1), 32 * n + 16, seed)
        return _avalanche(acc)
    for n in range(8):
        acc += _mixed(data, at + 16 * n, 16 * n, seed)
    acc = _avalanche(acc)
    for n in range(8, size // 16):
        acc += _mixed(data, at + 16 * n, 16 * (n - 8) + 3, seed)
    return _avalanche(acc + _mixed(data, end - 16, 119, seed))


@jit
def _mixed(data: Any, at: int, secret: int, seed: Any) -> Any:
    low = _word(data, at) ^ (_word(_SECRET, secret) + seed)
    return _folded(low, _word(data, at + 8) ^ (_word(_SECRET, secret + 8) - seed))


@jit
def _folded(a: Any, b: Any) -> Any:
    """The halves of the product of 128 bits, one over the other."""
    mask, half = _U(0xFFFFFFFF), _U(32)
    low, left = (a & mask) * (b & mask), (a >> half) * (b & mask)
    right, high = (a & mask) * (b >> half), (a >> half) * (b >> half)
    cross = (low >> half) + (left & mask) + right
    return (high + (left >> half) + (cross >> half)) ^ (cross << half | low & mask)


@jit
def _avalanche(h: Any) -> Any:
    h ^= h >> _U(37)
    h *= _END
    return h ^ h >> _U(32)


@jit
def _avalanche_64(h: Any) -> Any:
    h ^= h >> _U(33)
    h *= _P2
    h ^= h >> _U(29)
    h *= _P3
    return h ^ h >> _U(32)


@jit
def _turned(h: Any, bits: int) -> Any:
    return h << _U(bits) | h >> _U(64 - bits)


@jit
def _half(data: Any, at: int) -> Any:
    """Four bytes, little-endian."""
    return _U(data[at]) | _U(data[at + 1]) << _U(8) | _U(data[at + 2]) << _U(16) | _U(data[at + 3]) << _U(24)


@jit
def _word(data: Any, at: int) -> Any:
    return _half(data, at) | _half(data, at + 4) << _U(32)
