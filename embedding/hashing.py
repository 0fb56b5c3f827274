"""Hashes of 64-bit ids in NumPy. Suffixes: N ids, D embedding dimension."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from embedding.store import Floats, Ids

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_C2 = np.uint64(0xBF58476D1CE4E5B9)
_C3 = np.uint64(0x94D049BB133111EB)


def mix(ids: Ids) -> Ids:
    """splitmix64: a bijection on 64 bits, so that distinct ids stay distinct (Steele, Lea, Flood 2014).

    >>> hex(mix(np.array([0], np.uint64))[0])
    '0xe220a8397b1dcdaf'
    """
    z = ids + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _C2
    z = (z ^ (z >> np.uint64(27))) * _C3
    return z ^ (z >> np.uint64(31))


def eviction_draw(evicted: int, capacity: int) -> int:
    """The number of the order in which equally cold ids are evicted: another one after every `capacity` evictions."""
    return evicted // capacity


def eviction_ties(ids_N: Ids, draw: int) -> Ids:
    """The order [N] in which equally cold ids are evicted. It says nothing about where an id lies, which `mix` does.

    Each number `draw` gives another order, so that no id is always the first to go.

    >>> ids = np.arange(3, dtype=np.uint64)
    >>> np.argsort(eviction_ties(ids, draw=0)).tolist(), np.argsort(eviction_ties(ids, draw=1)).tolist()
    ([1, 2, 0], [0, 1, 2])
    """
    return mix(mix(ids_N) + np.uint64(draw))


def salt_of(seed: int, name: str) -> np.uint64:
    """64 bits that identify a table of a seeded store."""
    return np.uint64(int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "little"))


def initial_rows(ids_N: Ids, dim: int, salt: np.uint64, scale: float) -> Floats:
    """Values of new rows [N, D], uniform in [-scale, scale), a function of the id alone, not of the order.

    >>> initial_rows(np.array([7], np.uint64), 2, salt_of(0, "item"), 0.01).shape
    (1, 2)
    """
    keys_N1 = mix(ids_N ^ salt)[:, None]
    steps_D = np.arange(1, dim + 1, dtype=np.uint64) * _GOLDEN
    bits_ND = (mix(keys_N1 + steps_D) >> np.uint64(40)).astype(np.float32)
    return (bits_ND * np.float32(2.0**-23) - np.float32(1)) * np.float32(scale)


def uniform(ids_N: Ids, salt: np.uint64, step: int) -> npt.NDArray[np.float64]:
    """Pseudo-random numbers [N] in [0, 1), a function of the id, the salt and the step of the call."""
    keys_N = mix(ids_N ^ salt) + mix(np.array([step], np.uint64))
    return (mix(keys_N) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fallback_slots(ids_N: Ids, salt: np.uint64, slots: int) -> npt.NDArray[np.int64]:
    """The multiplexed row [N] of each id, hashed per table (Unified Embedding, Coleman et al. 2023)."""
    return ((mix(ids_N ^ salt) >> np.uint64(32)) * np.uint64(slots) >> np.uint64(32)).astype(np.int64)
