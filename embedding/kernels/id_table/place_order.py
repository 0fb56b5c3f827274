"""The order of ids by their places: sorting a list of them, merging two. See `eviction` for what a place is."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import U64, ZERO, inlined, jit, mix, trailing_zeros
from embedding.kernels.id_table.lines import S32

_DIGIT, _DIGITS = U64(8), 256  # bits of a place that a pass sorts by: the first cache holds the ends of as many lists


@inlined
def place_of(priority: Any, key: Any, draw: Any) -> Any:
    """The place of a mixed id in a draw."""
    return (priority << S32) | (mix(key + draw) >> S32)


@inlined
def before(place: Any, key: Any, other_place: Any, other_key: Any, draw: Any) -> Any:
    """Whether an id comes before another one."""
    if place != other_place:
        return place < other_place
    return mix(key + draw) < mix(other_key + draw)


@inlined
def _settle(places: Any, keys: Any, draw: Any) -> None:
    """Put ids that are sorted by place in order where places are equal, which is rare."""
    for i in range(1, len(places)):
        if places[i - 1] == places[i]:
            key, at = keys[i], i
            while at > 0 and places[at - 1] == places[i] and mix(keys[at - 1] + draw) > mix(key + draw):
                keys[at] = keys[at - 1]
                at -= 1
            keys[at] = key


@jit
def sort(places: Any, keys: Any, other_places: Any, other_keys: Any, draw: Any) -> Any:
    """Sort ids in a draw. Returns whether the result is in the other two arrays, which are as long.

    Radix sort from the lowest digit, of those bits only in which places differ.
    """
    varying = ZERO
    for i in range(len(places)):
        varying |= places[i] ^ places[0]
    ends, shift, swapped = np.empty(_DIGITS, np.int64), ZERO, False
    while varying >> shift != ZERO:
        shift += trailing_zeros(varying >> shift)
        ends[:] = 0
        for i in range(len(places)):
            ends[(places[i] >> shift) & U64(_DIGITS - 1)] += 1
        total = 0
        for digit in range(_DIGITS):
            total, ends[digit] = total + ends[digit], total
        for i in range(len(places)):
            digit = (places[i] >> shift) & U64(_DIGITS - 1)
            other_places[ends[digit]], other_keys[ends[digit]] = places[i], keys[i]
            ends[digit] += 1
        places, other_places, keys, other_keys, swapped = other_places, places, other_keys, keys, not swapped
        shift += _DIGIT
        if shift >= U64(64):
            break
    _settle(places, keys, draw)
    return swapped


@jit
def merge(places: Any, keys: Any, more_places: Any, more_keys: Any, all_places: Any, all_keys: Any, draw: Any) -> None:
    """Merge two sorted lists of ids."""
    i, k = 0, 0
    for at in range(len(all_places)):
        if k == len(more_keys) or (i < len(keys) and before(places[i], keys[i], more_places[k], more_keys[k], draw)):
            all_places[at], all_keys[at] = places[i], keys[i]
            i += 1
        else:
            all_places[at], all_keys[at] = more_places[k], more_keys[k]
            k += 1
