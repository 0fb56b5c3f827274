"""The id table's lines: layout, and what kernels do to one of them.

The table is one array of 64-byte lines, each of four 16-byte slots:

    word 0: mixed id (64)          word 1: row (32) | last seen, minutes (24) | frequency (8)

The top bits of the mixed id name a segment, the bits below its home line in it (a high multiply, so that lines are in
hash order); a full line sends the id to the next one. A segment holds at most a few thousand lines: growing, shrinking
and sweeping rewrite one segment in the processor's cache, and nothing else waits.

An empty slot holds a word that no id of its segment can have: all ones in the lower half of the hash space, zero in the
upper half. So every 64-bit id is legal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, ZERO, inlined, line_equal, trailing_zeros

KEYS = U64(0x55)  # the words of a line that hold ids
S8, S32, S63, S64 = U64(8), U64(32), U64(63), U64(64)
FREQ, SEEN, ROW = U64(0xFF), U64(0xFFFFFF00), U64(0xFFFFFFFF00000000)
SIZE, NEXT_ROW, FREE_TOP, NEW = 0, 1, 2, 3  # places in the table's `state`


@inlined
def empty_word(h: Any) -> Any:
    """What an empty slot holds where `h` could be."""
    return (h >> S63) - ONE


@inlined
def home(h: Any, bits: Any, stride: Any, lines_S: Any) -> Any:
    """The line where the search for mixed id `h` begins."""
    segment = h >> (S64 - bits)
    return segment * stride + ((((h << bits) >> S32) * U64(lines_S[segment])) >> S32)


@inlined
def next_line(line: Any, h: Any, bits: Any, stride: Any, lines_S: Any) -> Any:
    """The line after `line`, round the end of its segment."""
    segment = h >> (S64 - bits)
    line += ONE
    first = segment * stride
    return first if line == first + U64(lines_S[segment]) else line


@inlined
def touch_slot(table: Any, slot: Any, stamp: Any, count: Any) -> Any:
    """Mark an id as seen: the later of both times, the frequency up to 255. Returns the row."""
    word = table[slot + ONE]
    seen = max(word & SEEN, stamp << S8)
    table[slot + ONE] = (word & ROW) | seen | min((word & FREQ) + count, FREQ)
    return np.int32(word >> S32)


@inlined
def place(table: Any, first: Any, lines: Any, bits: Any, h: Any, word: Any) -> None:
    """Write an entry into a segment that has room and does not hold it yet."""
    line = (((h << bits) >> S32) * lines) >> S32
    while True:
        hole = line_equal(table, (first + line) * U64(8), empty_word(h)) & KEYS
        if hole != ZERO:
            slot = (first + line) * U64(8) + trailing_zeros(hole)
            table[slot], table[slot + ONE] = h, word
            return
        line += ONE
        if line == lines:
            line = ZERO
