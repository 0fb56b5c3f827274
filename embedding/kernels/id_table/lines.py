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
from llvmlite import ir
from numba import types

from embedding.kernels.bits import ONE, U64, ZERO, inlined, intrinsic, line_equal, load_line, splat, trailing_zeros

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


@intrinsic
def colder(typingctx: Any, table: Any, index: Any, hole: Any, priority: Any) -> Any:  # noqa: ARG001
    """Which ids of the line at table[index] have a priority below `priority`: a bit at the first word of each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load_line(context, builder, signature.args[0], args[0], args[1])
        priorities = builder.and_(words, splat(builder, ir.Constant(ir.IntType(64), 0xFFFFFFFF)))
        below = builder.bitcast(builder.icmp_unsigned("<", priorities, splat(builder, args[3])), ir.IntType(8))
        taken = builder.bitcast(builder.icmp_unsigned("!=", words, splat(builder, args[2])), ir.IntType(8))
        cold = builder.and_(builder.lshr(below, ir.Constant(ir.IntType(8), 1)), taken)
        return builder.zext(builder.and_(cold, ir.Constant(ir.IntType(8), 0x55)), ir.IntType(64))

    return types.uint64(table, index, hole, priority), codegen


@intrinsic
def displaced(
    typingctx: Any,  # noqa: ARG001
    table: Any,
    index: Any,
    hole: Any,
    bits: Any,
    lines: Any,
    line: Any,
    least: Any,
) -> Any:
    """Which ids of the line at table[index] are at least `least` lines beyond home, as bits like those of `colder`.

    It is line number `line` of a segment of `lines`, whose empty slots hold `hole`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load_line(context, builder, signature.args[0], args[0], args[1])
        i8, i64 = ir.IntType(8), ir.IntType(64)
        half, size = splat(builder, ir.Constant(i64, 32)), splat(builder, args[4])
        fraction = builder.lshr(builder.shl(words, splat(builder, args[3])), half)
        home = builder.lshr(builder.mul(fraction, size), half)
        position = splat(builder, args[5])
        steps = builder.sub(position, home)
        steps = builder.select(builder.icmp_unsigned("<", position, home), builder.add(steps, size), steps)
        away = builder.icmp_unsigned(">=", steps, splat(builder, args[6]))
        taken = builder.icmp_unsigned("!=", words, splat(builder, args[2]))
        beyond = builder.bitcast(builder.and_(away, taken), i8)
        return builder.zext(builder.and_(beyond, ir.Constant(i8, 0x55)), i64)

    return types.uint64(table, index, hole, bits, lines, line, least), codegen


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


@inlined
def find_slot(table: Any, lines_S: Any, bits: Any, stride: Any, key: Any) -> Any:
    """The slot of a mixed id, all ones if it is not in the table."""
    line = home(key, bits, stride, lines_S)
    while True:
        found = line_equal(table, line * U64(8), key) & KEYS
        if found != ZERO:
            return line * U64(8) + trailing_zeros(found)
        if (line_equal(table, line * U64(8), empty_word(key)) & KEYS) != ZERO:
            return ~ZERO
        line = next_line(line, key, bits, stride, lines_S)


@inlined
def free_row(bits: Any, counts_S: Any, state: Any, free: Any, key: Any, row: Any) -> None:
    """Count a mixed id that was dropped, and keep its row for the next new id."""
    free[state[FREE_TOP]] = row
    state[FREE_TOP] += 1
    state[SIZE] -= 1
    counts_S[key >> (S64 - bits)] -= 1
