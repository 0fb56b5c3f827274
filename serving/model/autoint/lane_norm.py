"""LayerNorm (Ba et al., 2016, arXiv 1607.06450) of vectors of candidates."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from embedding.kernels.bits import intrinsic
from serving.model.autoint.autoint_layers import NORM_EPS
from serving.model.autoint.lanes import LANES, Code


@intrinsic
def normalise(typingctx, x, x_at, weights, w_at, bias, b_at, count):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """x[k] = weights[k] * (x[k] - mean) / sqrt(variance + NORM_EPS) + bias[k], of `count` vectors in a row, by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Code(context, builder, signature, args)
        x, weights, bias, count = code.pointer(0), code.pointer(2), code.pointer(4), args[6]
        share = builder.fdiv(code.all_lanes(1.0), code.all_lanes(builder.sitofp(count, ir.FloatType())))
        mean = builder.fmul(_sum(code, x, count, lambda value, total: builder.fadd(value, total)), share)

        def square(value: Any, total: Any) -> Any:
            away = builder.fsub(value, mean)
            return code.call("fma", away, away, total)

        variance = builder.fmul(_sum(code, x, count, square), share)
        root = code.call("sqrt", builder.fadd(variance, code.all_lanes(code.float32(NORM_EPS))))
        factor = builder.fdiv(code.all_lanes(1.0), root)
        with code.loop(count) as loop:
            place = code.at(x, loop.index, LANES)
            weight, start = (code.all_lanes(builder.load(code.at(array, loop.index))) for array in (weights, bias))
            code.store(
                code.call("fma", builder.fmul(builder.fsub(code.load(place), mean), factor), weight, start), place
            )
        return context.get_dummy_value()

    return types.void(x, x_at, weights, w_at, bias, b_at, count), codegen


def _sum(code: Code, x: Any, count: Any, add: Any) -> Any:
    total = code.variable(code.all_lanes(0.0))
    with code.loop(count) as loop:
        code.builder.store(add(code.load(code.at(x, loop.index, LANES)), code.builder.load(total)), total)
    return code.builder.load(total)
