"""Expiry: one pass over a segment, line by line, without a branch per id. See `lines` for the layout.

A random fifth of the slots goes: a branch on each would be guessed wrong every other line, which costs more than all
else. So the slots that go are packed together, and emptied, by vector instructions under a mask.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from embedding.kernels.bits import (
    LINE,
    ONE,
    TWO,
    U64,
    ZERO,
    address,
    count_ones,
    external,
    intrinsic,
    jit,
    load_line,
    prefetch,
    splat,
    unmix,
)
from embedding.kernels.lines import FREE_TOP, S32, S64, SIZE, empty_word, place

AHEAD = 32  # lines between a prefetch and its use; the processor's own prefetch is too late for lines that are written
_I1, _I8, _I32, _I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
_MASK = ir.VectorType(_I1, 8)


def _masked(builder: Any, mask: Any) -> Any:
    return builder.bitcast(builder.trunc(mask, _I8), _MASK)


@intrinsic
def _cold(typingctx: Any, table: Any, index: Any, hole: Any, priority: Any) -> Any:  # noqa: ARG001
    """Which ids of the line at table[index] have a priority below `priority`: a bit at the first word of each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load_line(context, builder, signature.args[0], args[0], args[1])
        priorities = builder.and_(words, splat(builder, ir.Constant(_I64, 0xFFFFFFFF)))
        colder = builder.bitcast(builder.icmp_unsigned("<", priorities, splat(builder, args[3])), _I8)
        taken = builder.bitcast(builder.icmp_unsigned("!=", words, splat(builder, args[2])), _I8)
        cold = builder.and_(builder.lshr(colder, ir.Constant(_I8, 1)), taken)
        return builder.zext(builder.and_(cold, ir.Constant(_I8, 0x55)), _I64)

    return types.uint64(table, index, hole, priority), codegen


@intrinsic
def _strays(typingctx: Any, table: Any, index: Any, hole: Any, bits: Any, lines: Any, line: Any) -> Any:  # noqa: ARG001
    """Which ids of the line at table[index], line `line` of a segment of `lines`, have another home, as `_cold`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load_line(context, builder, signature.args[0], args[0], args[1])
        half = splat(builder, ir.Constant(_I64, 32))
        fraction = builder.lshr(builder.shl(words, splat(builder, args[3])), half)
        home = builder.lshr(builder.mul(fraction, splat(builder, args[4])), half)
        away = builder.icmp_unsigned("!=", home, splat(builder, args[5]))
        stray = builder.and_(away, builder.icmp_unsigned("!=", words, splat(builder, args[2])))
        return builder.zext(builder.and_(builder.bitcast(stray, _I8), ir.Constant(_I8, 0x55)), _I64)

    return types.uint64(table, index, hole, bits, lines, line), codegen


@intrinsic
def _pack(typingctx: Any, table: Any, index: Any, mask: Any, out: Any, at: Any) -> Any:  # noqa: ARG001
    """Write the words of the line at table[index] that `mask` names to out[at:], side by side."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load_line(context, builder, signature.args[0], args[0], args[1])
        pointer = address(context, builder, signature.args[3], args[3], args[4], _I64)
        kind = ir.FunctionType(ir.VoidType(), [LINE, pointer.type, _MASK])
        store = external(builder.module, kind, "llvm.masked.compressstore.v8i64")
        builder.call(store, [words, pointer, _masked(builder, args[2])])
        return context.get_dummy_value()

    return types.void(table, index, mask, out, at), codegen


@intrinsic
def _fill(typingctx: Any, table: Any, index: Any, mask: Any, value: Any) -> Any:  # noqa: ARG001
    """Set the words of the line at table[index] that `mask` names."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = address(context, builder, signature.args[0], args[0], args[1], LINE)
        kind = ir.FunctionType(ir.VoidType(), [LINE, pointer.type, _I32, _MASK])
        store = external(builder.module, kind, "llvm.masked.store.v8i64.p0")
        aligned = ir.Constant(_I32, 16)
        builder.call(store, [splat(builder, args[3]), pointer, aligned, _masked(builder, args[2])])
        return context.get_dummy_value()

    return types.void(table, index, mask, value), codegen


@jit
def sweep(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    counts_S: Any,
    segment: Any,
    priority: Any,
    scratch: Any,
    going: Any,
) -> Any:
    """Move the slots of ids with a priority (last seen << 8 | frequency) below `priority` from a segment to `going`.

    Returns how many. An id beyond its home line is placed again, because its home line may have room now, and searches
    would stop there. `scratch` and `going` have room for all slots of the segment.
    """
    first, lines = U64(segment) * stride, U64(lines_S[segment])
    hole = empty_word(U64(segment) << (S64 - bits))
    gone, displaced = ZERO, ZERO
    for line in range(lines):
        base = (first + U64(line)) * U64(8)
        prefetch(table, base + U64(8 * AHEAD))
        cold = _cold(table, base, hole, priority)
        strays = _strays(table, base, hole, bits, lines, U64(line)) & ~cold
        _pack(table, base, cold | (cold << ONE), going, gone)
        _pack(table, base, strays | (strays << ONE), scratch, displaced)
        _fill(table, base, cold | strays, hole)
        gone += TWO * count_ones(cold)
        displaced += TWO * count_ones(strays)
    for k in range(0, displaced, 2):
        place(table, first, lines, bits, scratch[k], scratch[k + 1])
    counts_S[segment] -= gone >> ONE
    return gone >> ONE


@jit
def release(going: Any, state: Any, free: Any, ids: Any, rows: Any) -> None:
    """List the ids and rows of the slots in `going`, and free the rows."""
    top = state[FREE_TOP]
    for k in range(len(ids)):
        ids[k], rows[k] = unmix(going[2 * k]), going[2 * k + 1] >> S32
        free[top + k] = rows[k]
    state[FREE_TOP] += len(ids)
    state[SIZE] -= len(ids)
