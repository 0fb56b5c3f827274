"""Arithmetic on vectors of `LANES` candidates, one in each lane, as parts of compiled loops.

They are LLVM's own vectors, which it splits to what the processor has, so nothing here depends on one. Every function
takes flat float32 arrays and the offset of the first number; a vector is `LANES` numbers in a row. The shape of a
block, 4 x 4 vectors of sums that stay in registers, is that of AVX-512.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from embedding.kernels.bits import address, external, intrinsic

LANES = 16
BLOCK = 4
"""Rows and columns that one call of `times_weights` or `times_vectors` computes."""
_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_V, _VI = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
"""Of the polynomial of e^r for |r| <= ln(2) / 2, as in Cephes' `expf`."""
_reserve: Any = cgutils.alloca_once
_ROUND = 12582912.0
"""1.5 * 2^23: what is added to it is rounded to a whole number, which stands in its lowest bits."""


class Code:
    """Writes the instructions of one function."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.builder, self.types, self.args = context, builder, signature.args, args

    def pointer(self, array: int) -> Any:
        """To the number at the offset that follows the array among the arguments."""
        return address(self.context, self.builder, self.types[array], self.args[array], self.args[array + 1], _F32)

    def at(self, pointer: Any, index: Any, stride: Any = 1) -> Any:
        """`pointer` moved by `index` times `stride` numbers."""
        index, stride = (_I64(value) if isinstance(value, int) else value for value in (index, stride))
        return self.builder.gep(pointer, [self.builder.mul(index, stride)])

    def load(self, pointer: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, _V.as_pointer()))
        value.align = 4
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, _V.as_pointer())).align = 4

    def all_lanes(self, number: Any) -> Any:
        """A number, or a constant, in every lane."""
        if isinstance(number, float):
            return ir.Constant(_V, [ir.Constant(_F32, number)] * LANES)
        undefined = ir.Constant(_V, ir.Undefined)
        first = self.builder.insert_element(undefined, number, _I32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(_VI, [_I32(0)] * LANES))

    def call(self, name: str, *values: Any) -> Any:
        function = external(self.builder.module, ir.FunctionType(_V, [_V] * len(values)), f"llvm.{name}.v{LANES}f32")
        return self.builder.call(function, values)

    def product(self, a: Any, b: Any, total: Any) -> Any:
        """`total` and the products of both, lane by lane."""
        return self.call("fma", a, b, total)

    def larger(self, a: Any, b: Any) -> Any:
        """`a` where it is no number: a diverged row must show in the scores."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), b, a)

    def variable(self, value: Any) -> Any:
        variable = _reserve(self.builder, _V)
        self.builder.store(value, variable)
        return variable

    def loop(self, count: Any) -> Any:
        return cgutils.for_range(self.builder, count, intp=_I64)

    @staticmethod
    def float32(number: float) -> float:
        """The nearest one."""
        return float(np.float32(number))

    def exp(self, x: Any) -> Any:
        """e^x, relative error 2e-7; e^-87 for all x below."""
        builder, constant = self.builder, self.all_lanes
        x = self.larger(x, constant(-87.0))
        shifted = self.call("fma", x, constant(self.float32(1.44269504)), constant(_ROUND))
        whole = builder.fsub(shifted, constant(_ROUND))
        rest = self.call("fma", whole, constant(-0.693359375), x)
        rest = self.call("fma", whole, constant(self.float32(2.12194440e-4)), rest)
        power = constant(self.float32(_EXP[0]))
        for factor in _EXP[1:]:
            power = self.call("fma", power, rest, constant(self.float32(factor)))
        power = self.call("fma", power, builder.fmul(rest, rest), builder.fadd(rest, constant(1.0)))
        exponent = builder.shl(builder.bitcast(shifted, _VI), ir.Constant(_VI, [_I32(23)] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(power, _VI), exponent), _V)


def _block(code: Code, first: list[list[Any]], count: Any, left: Any, right: Any) -> list[list[Any]]:
    """first[i][j] + sum over k of left(i, k) * right(j, k), as vectors."""
    sums = [[code.variable(value) for value in row] for row in first]
    with code.loop(count) as loop:
        rows = [left(i, loop.index) for i in range(BLOCK)]
        for j in range(BLOCK):
            column = right(j, loop.index)
            for i in range(BLOCK):
                code.builder.store(code.product(rows[i], column, code.builder.load(sums[i][j])), sums[i][j])
    return [[code.builder.load(value) for value in row] for row in sums]


def _store_block(code: Code, block: list[list[Any]], out: Any, stride: Any) -> None:
    for i, row in enumerate(block):
        for j, value in enumerate(row):
            code.store(value, code.at(code.at(out, i, stride), j * LANES))


def write_times_weights(code: Code) -> None:
    """The instructions of `times_weights`."""
    builder, args = code.builder, code.args
    x, weights, bias, out = (code.pointer(array) for array in (0, 3, 5, 7))
    first = [code.all_lanes(builder.load(code.at(bias, j))) for j in range(BLOCK)]

    def left(i: int, k: Any) -> Any:
        return code.load(code.at(code.at(x, i, args[2]), k, LANES))

    def right(j: int, k: Any) -> Any:
        return code.all_lanes(builder.load(code.at(code.at(weights, k, BLOCK), j)))

    block = _block(code, [first] * BLOCK, args[10], left, right)
    zero = code.all_lanes(0.0)
    block = [[builder.select(args[11], code.larger(value, zero), value) for value in row] for row in block]
    _store_block(code, block, out, args[9])


@intrinsic
def times_weights(typingctx, x, x_at, x_row, weights, w_at, bias, b_at, out, o_at, o_row, inputs, rectified):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """out[i, j] = bias[j] + sum over k < inputs of x[i, k] * weights[k, j], for 4 rows and columns; `rectified`: at
    least 0.

    x and out have vectors, their rows `x_row` and `o_row` numbers apart; weights are numbers, the 4 of each k in a row.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write_times_weights(Code(context, builder, signature, args))
        return context.get_dummy_value()

    arguments = (x, x_at, x_row, weights, w_at, bias, b_at, out, o_at, o_row, inputs)
    return types.void(*arguments, types.boolean), codegen


def write_times_vectors(code: Code) -> None:
    """The instructions of `times_vectors`."""
    args = code.args
    x, y, out = (code.pointer(array) for array in (0, 3, 7))

    def left(i: int, k: Any) -> Any:
        return code.load(code.at(code.at(x, i, args[2]), k, LANES))

    def right(j: int, k: Any) -> Any:
        return code.load(code.at(code.at(y, j, args[5]), k, args[6]))

    zeros = [[code.all_lanes(0.0)] * BLOCK] * BLOCK
    _store_block(code, _block(code, zeros, args[10], left, right), out, args[9])


@intrinsic
def times_vectors(typingctx, x, x_at, x_row, y, y_at, y_column, y_step, out, o_at, o_row, inputs):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """out[i, j] = sum over k < inputs of x[i, k] * y[k, j], all vectors, for 4 rows and columns; y's columns are
    `y_column` numbers apart and its rows `y_step`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write_times_vectors(Code(context, builder, signature, args))
        return context.get_dummy_value()

    return types.void(x, x_at, x_row, y, y_at, y_column, y_step, out, o_at, o_row, inputs), codegen


@intrinsic
def exponentials(typingctx, x, x_at, total, t_at, count):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """x[k] = exp(x[k] - largest) of `count` vectors in a row, and total = 1 / their sum: the parts of a softmax."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder, signature, args)
        x, total = code.pointer(0), code.pointer(2)
        largest, sums = code.variable(code.load(x)), code.variable(code.all_lanes(0.0))
        with code.loop(args[4]) as loop:
            value = code.load(code.at(x, loop.index, LANES))
            builder.store(code.larger(builder.load(largest), value), largest)
        with code.loop(args[4]) as loop:
            place = code.at(x, loop.index, LANES)
            value = code.exp(builder.fsub(code.load(place), builder.load(largest)))
            code.store(value, place)
            builder.store(builder.fadd(builder.load(sums), value), sums)
        code.store(builder.fdiv(code.all_lanes(1.0), builder.load(sums)), total)
        return context.get_dummy_value()

    return types.void(x, x_at, total, t_at, count), codegen


@intrinsic
def rectified_sum(typingctx, x, x_at, factor, f_at, y, y_at, count):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """x[k] = max(x[k] * factor + y[k], 0) of `count` vectors in a row, with one vector of factors."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder, signature, args)
        x, factor, y = code.pointer(0), code.load(code.pointer(2)), code.pointer(4)
        with code.loop(args[6]) as loop:
            place = code.at(x, loop.index, LANES)
            value = code.call("fma", code.load(place), factor, code.load(code.at(y, loop.index, LANES)))
            code.store(code.larger(value, code.all_lanes(0.0)), place)
        return context.get_dummy_value()

    return types.void(x, x_at, factor, f_at, y, y_at, count), codegen


@intrinsic
def add_products(typingctx, out, o_at, x, x_at, weights, w_at, count):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """out += sum over k < count of x[k] * weights[k]: one vector, of vectors in a row and numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder, signature, args)
        out, x, weights = code.pointer(0), code.pointer(2), code.pointer(4)
        sums = code.variable(code.load(out))
        with code.loop(args[6]) as loop:
            weight = code.all_lanes(builder.load(code.at(weights, loop.index)))
            product = code.call("fma", code.load(code.at(x, loop.index, LANES)), weight, builder.load(sums))
            builder.store(product, sums)
        code.store(builder.load(sums), out)
        return context.get_dummy_value()

    return types.void(out, o_at, x, x_at, weights, w_at, count), codegen
