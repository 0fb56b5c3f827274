"""Operations on one row of a compile-time dimension, in vectors as wide as divides it.

LLVM would vectorise plain loops too, but it checks on every row whether the arrays overlap and may add up in any order;
these add in one order on every machine. In all of them `dim` must be a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from embedding.kernels.bits import address

_intrinsic: Any = intrinsic(prefer_literal=True)
_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()


def _vectors(context: Any, builder: Any, array_type: Any, array: Any, index: Any, dim: int) -> list[Any]:
    """Pointers to the vectors of a row."""
    width = math.gcd(dim, 16)
    first = address(context, builder, array_type, array, index, ir.VectorType(_F32, width))
    return [builder.gep(first, [ir.Constant(_I64, k)]) for k in range(dim // width)]


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4
    return value


def _shuffled(builder: Any, vector: Any, lanes: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(_I32, len(lanes)), [ir.Constant(_I32, lane) for lane in lanes])
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _combine(context: Any, builder: Any, signature: Any, args: Any, result: Callable[[Any, Any], Any]) -> Any:
    """a = result(a, b) for rows a at args[0][args[1]] and b at args[2][args[3]]."""
    dim = signature.args[4].literal_value
    targets = _vectors(context, builder, signature.args[0], args[0], args[1], dim)
    sources = _vectors(context, builder, signature.args[2], args[2], args[3], dim)
    for target, source in zip(targets, sources, strict=True):
        builder.store(result(target, _load(builder, source)), target).align = 4
    return context.get_dummy_value()


@_intrinsic
def copy_row(typingctx: Any, a: Any, i: Any, b: Any, k: Any, dim: Any) -> Any:  # noqa: ARG001
    """a[i : i + dim] = b[k : k + dim]"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _combine(context, builder, signature, args, lambda _, value: value)

    return types.void(a, i, b, k, dim), codegen


@_intrinsic
def add_row(typingctx: Any, a: Any, i: Any, b: Any, k: Any, dim: Any) -> Any:  # noqa: ARG001
    """a[i : i + dim] += b[k : k + dim]"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def added(target: Any, value: Any) -> Any:
            return builder.fadd(_load(builder, target), value)

        return _combine(context, builder, signature, args, added)

    return types.void(a, i, b, k, dim), codegen


@_intrinsic
def subtract_scaled(typingctx: Any, a: Any, i: Any, b: Any, k: Any, dim: Any, scale: Any) -> Any:  # noqa: ARG001
    """a[i : i + dim] -= scale * b[k : k + dim]"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        width = math.gcd(signature.args[4].literal_value, 16)
        undefined = ir.Constant(ir.VectorType(_F32, width), ir.Undefined)
        first = builder.insert_element(undefined, args[5], ir.Constant(_I32, 0))
        factor = _shuffled(builder, first, [0] * width)

        def subtracted(target: Any, value: Any) -> Any:
            return builder.fsub(_load(builder, target), builder.fmul(factor, value))

        return _combine(context, builder, signature, args, subtracted)

    return types.void(a, i, b, k, dim, types.float32), codegen


@_intrinsic
def square_sum(typingctx: Any, b: Any, k: Any, dim: Any) -> Any:  # noqa: ARG001
    """The sum of squares of b[k : k + dim]: lane by lane, then the lanes as a tree."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total = None
        for pointer in _vectors(context, builder, signature.args[0], args[0], args[1], signature.args[2].literal_value):
            value = _load(builder, pointer)
            square = builder.fmul(value, value)
            total = square if total is None else builder.fadd(total, square)
        width = math.gcd(signature.args[2].literal_value, 16)
        while width > 1:
            width //= 2
            high = _shuffled(builder, total, list(range(width, 2 * width)))
            total = builder.fadd(_shuffled(builder, total, list(range(width))), high)
        return builder.extract_element(total, ir.Constant(_I32, 0))

    return types.float32(b, k, dim), codegen
