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
from embedding.kernels.id_table.lines import FREE_TOP, S32, S64, SIZE, colder, displaced, empty_word, place

AHEAD = 32  # lines between a prefetch and its use; the processor's own prefetch is too late for lines that are written
_I1, _I8, _I32, _I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
_MASK = ir.VectorType(_I1, 8)


def _masked(builder: Any, mask: Any) -> Any:
    return builder.bitcast(builder.trunc(mask, _I8), _MASK)


@intrinsic
def _pack(typingctx: Any, table: Any, index: Any, mask: Any, out: Any, at: Any) -> Any:  # noqa: ARG001
    """Write the words of the line at table[index] that `mask` names to out[at:], and anything up to out[at + 8].

    They are packed in a register: AMD's processors take some hundred cycles to pack into memory.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = load_line(context, builder, signature.args[0], args[0], args[1])
        pointer = address(context, builder, signature.args[3], args[3], args[4], LINE)
        kind = ir.FunctionType(LINE, [LINE, _MASK, LINE])
        compress = external(builder.module, kind, "llvm.experimental.vector.compress.v8i64")
        packed = builder.call(compress, [words, _masked(builder, args[2]), ir.Constant(LINE, ir.Undefined)])
        builder.store(packed, pointer, align=8)
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
    gone, moved = ZERO, ZERO
    for line in range(lines):
        base = (first + U64(line)) * U64(8)
        prefetch(table, base + U64(8 * AHEAD))
        cold = colder(table, base, hole, priority)
        strays = displaced(table, base, hole, bits, lines, U64(line), ONE) & ~cold
        _pack(table, base, cold | (cold << ONE), going, gone)
        _pack(table, base, strays | (strays << ONE), scratch, moved)
        _fill(table, base, cold | strays, hole)
        gone += TWO * count_ones(cold)
        moved += TWO * count_ones(strays)
    for k in range(0, moved, 2):
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
