"""Searching the table for the ids of lowest places. See `lines` for its layout, `eviction` for what a place is."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from embedding.kernels.bits import (
    GOLDEN,
    MIX_FACTORS,
    ONE,
    U64,
    ZERO,
    intrinsic,
    jit,
    load_line,
    splat,
    trailing_zeros,
)
from embedding.kernels.id_table.lines import S64, empty_word
from embedding.kernels.id_table.place_order import place_of

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_SLOTS = ir.VectorType(_I64, 4)
_PRIORITY = U64(0xFFFFFFFF)


def _four(word: int | np.uint64) -> Any:
    return ir.Constant(_SLOTS, [ir.Constant(_I64, int(word))] * 4)


def _mixed(builder: Any, words: Any) -> Any:
    """Code for `bits.mix` of four words."""
    words = builder.add(words, _four(GOLDEN))
    for shift, factor in zip((30, 27), MIX_FACTORS, strict=True):
        words = builder.mul(builder.xor(words, builder.lshr(words, _four(shift))), _four(factor))
    return builder.xor(words, builder.lshr(words, _four(31)))


@intrinsic
def _within(
    typingctx: Any,  # noqa: ARG001
    table: Any,
    index: Any,
    hole: Any,
    draw: Any,
    above: Any,
    limit: Any,
) -> Any:
    """Which slots of the line at table[index] have ids with above < place <= limit: a bit each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load_line(context, builder, signature.args[0], args[0], args[1])

        def part(line: Any, first: int) -> Any:
            lanes = ir.Constant(ir.VectorType(_I32, 4), [ir.Constant(_I32, first + 2 * k) for k in range(4)])
            return builder.shuffle_vector(line, ir.Constant(line.type, ir.Undefined), lanes)

        hole, draw, above, limit = (part(splat(builder, arg), 0) for arg in args[2:])
        keys, priorities = part(words, 0), builder.shl(part(words, 1), _four(32))
        places = builder.or_(priorities, builder.lshr(_mixed(builder, builder.add(keys, draw)), _four(32)))
        beyond = builder.and_(builder.icmp_unsigned(">", places, above), builder.icmp_unsigned("<=", places, limit))
        taken = builder.and_(beyond, builder.icmp_unsigned("!=", keys, hole))
        return builder.zext(builder.bitcast(taken, ir.IntType(4)), _I64)

    return types.uint64(table, index, hole, draw, above, limit), codegen


@jit
def collect(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    begin: Any,
    end: Any,
    step: Any,
    draw: Any,
    above: Any,
    limit: Any,
    places: Any,
    keys: Any,
    n: Any,
) -> Any:
    """List the ids of segments begin to end with above < place <= limit, in every `step`-th line, from places[n] on.

    Returns how many ids are listed. There is room for all.
    """
    for segment in range(begin, end):
        first = U64(segment) * stride
        hole = empty_word(U64(segment) << (S64 - bits))
        for line in range(0, lines_S[segment], step):
            base = (first + U64(line)) * U64(8)
            found = _within(table, base, hole, draw, above, limit)
            while found != ZERO:
                slot = base + U64(2) * trailing_zeros(found)
                found &= found - ONE
                places[n], keys[n] = place_of(table[slot + ONE] & _PRIORITY, table[slot], draw), table[slot]
                n += 1
    return n
