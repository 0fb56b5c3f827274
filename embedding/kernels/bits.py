"""Building blocks of the kernels: mixing, prefetch, and the compare of one 64-byte line."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic as _numba_intrinsic
from numba.np import arrayobj

jit: Any = njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
"""The decorator of a kernel: compiled on first use, cached on disk, runs without the interpreter's lock."""
inlined: Any = njit(inline="always")
"""The decorator of a kernel's part."""
intrinsic: Any = _numba_intrinsic
"""The decorator of a part written in LLVM IR."""
_make_array: Any = arrayobj.make_array
external: Any = cgutils.get_or_insert_function
"""An LLVM intrinsic, such as `llvm.cttz.i64`."""

U64 = np.uint64
ZERO, ONE, TWO, THREE = U64(0), U64(1), U64(2), U64(3)
GOLDEN = U64(0x9E3779B97F4A7C15)
_C2, _C3 = U64(0xBF58476D1CE4E5B9), U64(0x94D049BB133111EB)
MIX_FACTORS = (_C2, _C3)
"""The two factors of `mix`, in turn."""
_I2, _I3 = U64(0x96DE1B173F119089), U64(0x319642B2D24D8EC3)
_S27, _S30, _S31, _S54, _S60, _S62 = U64(27), U64(30), U64(31), U64(54), U64(60), U64(62)


@inlined
def mix(x: Any) -> Any:
    """splitmix64, as `embedding.hashing.mix`."""
    z = x + GOLDEN
    z = (z ^ (z >> _S30)) * _C2
    z = (z ^ (z >> _S27)) * _C3
    return z ^ (z >> _S31)


@inlined
def unmix(z: Any) -> Any:
    """The inverse of `mix`."""
    z = (z ^ (z >> _S31) ^ (z >> _S62)) * _I3
    z = (z ^ (z >> _S27) ^ (z >> _S54)) * _I2
    return (z ^ (z >> _S30) ^ (z >> _S60)) - GOLDEN


def address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, pointee: Any) -> Any:
    """Code for a pointer to array[index], as one to `pointee`."""
    data = _make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), pointee.as_pointer())


def _prefetcher(write: int, locality: int) -> Any:
    @intrinsic
    def prefetch(typingctx: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = address(context, builder, signature.args[0], args[0], args[1], ir.IntType(8))
            i32 = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
            function = external(builder.module, kind, "llvm.prefetch.p0")
            builder.call(function, [pointer, i32(write), i32(locality), i32(1)])
            return context.get_dummy_value()

        return types.void(array, index), codegen

    return prefetch


prefetch = _prefetcher(write=1, locality=3)
"""prefetch(array, index) asks for the cache line of array[index], to be written soon."""
prefetch_far = _prefetcher(write=0, locality=1)
"""The same into the second cache only, which can wait for three times as many lines at once."""


LINE: Any = ir.VectorType(ir.IntType(64), 8)
"""The eight words of a line, as an LLVM type."""


def splat(builder: Any, word: Any) -> Any:
    """Code for a line of eight equal words."""
    undefined, i32 = ir.Constant(LINE, ir.Undefined), ir.IntType(32)
    first = builder.insert_element(undefined, word, ir.Constant(i32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(i32, 8), [ir.Constant(i32, 0)] * 8))


def load_line(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Code for the line at array[index]."""
    words = builder.load(address(context, builder, array_type, array, index, LINE))
    words.align = 16
    return words


@intrinsic
def line_equal(typingctx: Any, array: Any, index: Any, key: Any) -> Any:  # noqa: ARG001
    """8-bit mask: which of the eight words of the line at array[index] equal `key` (one vector compare)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = load_line(context, builder, signature.args[0], args[0], args[1])
        equal = builder.icmp_unsigned("==", line, splat(builder, args[2]))
        return builder.zext(builder.bitcast(equal, ir.IntType(8)), ir.IntType(64))

    return types.uint64(array, index, key), codegen


@intrinsic
def trailing_zeros(typingctx: Any, word: Any) -> Any:  # noqa: ARG001
    """Number of trailing zero bits; undefined for 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        i1, i64 = ir.IntType(1), ir.IntType(64)
        kind = ir.FunctionType(i64, [i64, i1])
        function = external(builder.module, kind, "llvm.cttz.i64")
        return builder.call(function, [args[0], ir.Constant(i1, 1)])

    return types.uint64(types.uint64), codegen


@intrinsic
def count_ones(typingctx: Any, word: Any) -> Any:  # noqa: ARG001
    """Number of bits that are set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        i64 = ir.IntType(64)
        return builder.call(external(builder.module, ir.FunctionType(i64, [i64]), "llvm.ctpop.i64"), [args[0]])

    return types.uint64(types.uint64), codegen
