"""What the Triton kernels share: mixing, where a search begins and goes on, and the two words that are no id.

A slot is 16 bytes of one int64 tensor [slots, 2], also seen as int32 [slots, 4]:

    int64 0: mixed id        int32 2: row        int32 3: last seen, minutes since the epoch

The top bit of a mixed id names one of two rings of `half` slots; the 32 bits below it its home there, by a high
multiply as in `embedding.kernels.id_table.lines`. A word whose top bit is not its ring's cannot be a mixed id: it marks
a slot as open, and every 64-bit id is legal. An empty slot of the lower ring holds -1, a tombstone -2; in the upper
ring they are 0 and 1.

Ids are int64 in memory and uint64 where they are mixed and shifted. Functions are small, so that Triton inlines them.
"""

from __future__ import annotations

import triton
import triton.language as tl

_GOLDEN = tl.constexpr(0x9E3779B97F4A7C15)
_C2, _C3 = tl.constexpr(0xBF58476D1CE4E5B9), tl.constexpr(0x94D049BB133111EB)
_I2, _I3 = tl.constexpr(0x96DE1B173F119089), tl.constexpr(0x319642B2D24D8EC3)
MAX_FREQUENCY = tl.constexpr(255)


@triton.jit
def mix(ids: tl.tensor) -> tl.tensor:
    """splitmix64 of int64 bits, as `embedding.hashing.mix`."""
    z = ids.to(tl.uint64, bitcast=True) + _GOLDEN
    z = (z ^ (z >> 30)) * _C2
    z = (z ^ (z >> 27)) * _C3
    return (z ^ (z >> 31)).to(tl.int64, bitcast=True)


@triton.jit
def unmix(h: tl.tensor) -> tl.tensor:
    """The inverse of `mix`."""
    z = h.to(tl.uint64, bitcast=True)
    z = (z ^ (z >> 31) ^ (z >> 62)) * _I3
    z = (z ^ (z >> 27) ^ (z >> 54)) * _I2
    return ((z ^ (z >> 30) ^ (z >> 60)) - _GOLDEN).to(tl.int64, bitcast=True)


@triton.jit
def empty_word(h: tl.tensor) -> tl.tensor:
    """What a never used slot of h's ring holds."""
    return ~(h >> 63)


@triton.jit
def tombstone(h: tl.tensor) -> tl.tensor:
    """What a slot of h's ring holds whose id is gone: searches go on past it, inserts may take it."""
    return ~(h >> 63) ^ 1


@triton.jit
def is_open(word: tl.tensor, h: tl.tensor) -> tl.tensor:
    """Whether a slot of h's ring that holds `word` may be taken: it is empty or a tombstone."""
    return (word ^ h) < 0


@triton.jit
def home(h: tl.tensor, half: tl.tensor) -> tl.tensor:
    """The slot where the search for mixed id `h` begins."""
    bits = (h.to(tl.uint64, bitcast=True) << 1) >> 32
    offset = ((bits * half.to(tl.uint64)) >> 32).to(tl.int64)
    return tl.where(h < 0, offset + half, offset)


@triton.jit
def ring_end(h: tl.tensor, half: tl.tensor) -> tl.tensor:
    """The slot after the last one of h's ring, from where a search goes on at the ring's first."""
    return tl.where(h < 0, 2 * half, half)


@triton.jit
def seek(table: tl.tensor, half: tl.tensor, h: tl.tensor, active: tl.tensor) -> tl.tensor:
    """Slots of mixed ids and whether they are there. Reads until an empty slot, or once round the ring."""
    start, end, empty = home(h, half), ring_end(h, half), empty_word(h)
    slot = start
    found = active & (h != h)
    while tl.max(active.to(tl.int32), axis=0) > 0:
        word = tl.load(table + 2 * slot, mask=active, other=0)
        found = found | (active & (word == h))
        after = tl.where(slot + 1 == end, end - half, slot + 1)
        active = active & (word != h) & (word != empty) & (after != start)
        slot = tl.where(active, after, slot)
    return slot, found
