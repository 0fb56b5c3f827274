"""Products of bfloat16 numbers, a pair of which has the place of a float32: the processor adds two products at once.

Sums are float32. Only for processors with `avx512_bf16`: compiling this for another one ends the process.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import config

from embedding.kernels.bits import external, intrinsic
from serving.model.autoint.lanes import LANES, Code, write_times_vectors, write_times_weights

_V, _VI = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
_HALF, _UPPER = 0x8000, 0xFFFF0000
"""Of the bits of a float32: half of the last bit that bfloat16 has, and those that it has."""


def multiplies_pairs() -> bool:
    """Whether this processor does, and the compiler may know it."""
    settings: Any = config
    told = settings.CPU_NAME or settings.CPU_FEATURES
    return not told and bool(binding.get_host_cpu_features().get("avx512bf16", False))


class _BFloat(ir.types.Type):  # type: ignore[misc]
    """LLVM's `bfloat`, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash("bfloat")


_PAIRS = ir.VectorType(_BFloat(), 2 * LANES)


class _PairCode(Code):
    """Vectors have a pair in each lane, where they are multiplied."""

    def product(self, a: Any, b: Any, total: Any) -> Any:
        kind = ir.FunctionType(_V, [_V, _PAIRS, _PAIRS])
        function = external(self.builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
        return self.builder.call(function, [total, self.builder.bitcast(a, _PAIRS), self.builder.bitcast(b, _PAIRS)])


@intrinsic
def to_pairs(typingctx, x, x_at, out, o_at, count):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """out[k] = x[2 k] and x[2 k + 1], rounded to bfloat16, of `count` pairs of vectors in a row."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder, signature, args)
        x, out = code.pointer(0), code.pointer(2)

        def rounded(place: Any) -> Any:
            return builder.add(builder.bitcast(code.load(place), _VI), _everywhere(_HALF))

        with code.loop(args[4]) as loop:
            place = code.at(x, loop.index, 2 * LANES)
            low = builder.lshr(rounded(place), _everywhere(16))
            high = builder.and_(rounded(code.at(place, LANES)), _everywhere(_UPPER))
            code.store(builder.bitcast(builder.or_(low, high), _V), code.at(out, loop.index, LANES))
        return context.get_dummy_value()

    return types.void(x, x_at, out, o_at, count), codegen


@intrinsic
def times_weight_pairs(typingctx, x, x_at, x_row, weights, w_at, bias, b_at, out, o_at, o_row, inputs, rectified):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """As `times_weights`, where `inputs` counts pairs, of x and of weights."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write_times_weights(_PairCode(context, builder, signature, args))
        return context.get_dummy_value()

    arguments = (x, x_at, x_row, weights, w_at, bias, b_at, out, o_at, o_row, inputs)
    return types.void(*arguments, types.boolean), codegen


@intrinsic
def times_vector_pairs(typingctx, x, x_at, x_row, y, y_at, y_column, y_step, out, o_at, o_row, inputs):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """As `times_vectors`, where `inputs` counts pairs, of x and of y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write_times_vectors(_PairCode(context, builder, signature, args))
        return context.get_dummy_value()

    return types.void(x, x_at, x_row, y, y_at, y_column, y_step, out, o_at, o_row, inputs), codegen


def _everywhere(bits: int) -> Any:
    return ir.Constant(_VI, [ir.IntType(32)(bits)] * LANES)
