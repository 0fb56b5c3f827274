"""The counting filter's kernel. A slot is fingerprint (24) | count (8); 16 slots make a 64-byte bucket."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import U64, inlined, jit, mix

WAYS = 16
_U32 = np.uint32
_COUNT, _S8, _S32, _S40 = _U32(0xFF), _U32(8), U64(32), U64(40)


@inlined
def _locate(one_id: Any, salt: Any, sections: Any, stride: Any, buckets: Any) -> Any:
    """The first slot of an id's bucket, of `buckets` in each section, and the id's fingerprint."""
    h = mix(one_id ^ salt)
    section = mix(one_id) % U64(sections * stride) // U64(stride)
    bucket = ((h & U64(0xFFFFFFFF)) * U64(buckets)) >> _S32
    return np.int64(section * U64(buckets) + bucket) * WAYS, _U32(h >> _S40)


@jit
def count(
    slots: Any, salt: Any, sections: Any, stride: Any, ids_N: Any, counts_N: Any, threshold: Any, admitted_N: Any
) -> Any:
    """Add counts; admitted_N is set for ids that reached `threshold`. Returns how many counts were dropped for them.

    In a full bucket the smallest count is dropped, the first of them if there are several.
    """
    forgotten = 0
    buckets = len(slots) // WAYS // sections
    for i in range(len(ids_N)):
        first, mark = _locate(ids_N[i], salt, sections, stride, buckets)
        place, least = -1, first
        for at in range(first, first + WAYS):
            if slots[at] & _COUNT != _U32(0) and slots[at] >> _S8 == mark:
                place = at
                break
            if slots[at] & _COUNT < slots[least] & _COUNT:
                least = at
        if place < 0:
            place = least
            forgotten += slots[place] & _COUNT != _U32(0)
            slots[place] = mark << _S8
        total = min(np.int64(slots[place] & _COUNT) + counts_N[i], 255)
        slots[place] = (mark << _S8) | _U32(total)
        admitted_N[i] = total >= threshold
    return forgotten


@jit
def forget(slots: Any, salt: Any, sections: Any, stride: Any, ids_N: Any) -> None:
    """Set the counts of ids to zero."""
    buckets = len(slots) // WAYS // sections
    for i in range(len(ids_N)):
        first, mark = _locate(ids_N[i], salt, sections, stride, buckets)
        for at in range(first, first + WAYS):
            if slots[at] & _COUNT != _U32(0) and slots[at] >> _S8 == mark:
                slots[at] = _U32(0)
