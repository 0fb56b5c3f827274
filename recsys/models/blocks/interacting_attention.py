"""The arithmetic of AutoInt's interacting layer on a CPU, with its gradient written out.

Shape suffixes: B rows, M fields, d width in, H heads, K head size, W = H * K width out, P = parts * W, Z = B * M.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class InteractingAttention(torch.autograd.Function):
    """relu(concat_h(softmax(scale Q_h K_h^T) V_h) + residual), [B, M, d] -> [B, M, W].

    `weight` [P, d] and `bias` [P] project onto queries, keys, values and, if `parts` is 4, the residual; with a bias
    all of them pass a ReLU. The same operations under autograd copy, join and fill the projections' gradient several
    times. Here products read the heads where the projection left them, and each gradient is written once, into its
    place.
    """

    @staticmethod
    def forward(
        ctx: Any, fields_BMd: Tensor, weight: Tensor, bias: Tensor | None, heads: int, parts: int, scale: float
    ) -> Tensor:
        projected = functional.linear(fields_BMd.flatten(0, 1), weight, bias)
        if bias is not None:
            projected.relu_()
        projected_BMP = projected.view(*fields_BMd.shape[:2], len(weight))
        out_BMW = projected_BMP.new_empty(*fields_BMd.shape[:2], len(weight) // parts)
        attention = []
        for out_BMK, own in zip(out_BMW.chunk(heads, 2), _by_head(projected_BMP, parts, heads), strict=True):
            query, key, value, *residual = own
            attention.append(torch.softmax(torch.bmm(query, key.transpose(1, 2)).mul_(scale), -1))
            mixed_BMK = torch.bmm(attention[-1], value)
            torch.add(mixed_BMK, residual[0], out=out_BMK) if residual else out_BMK.copy_(mixed_BMK)
        out_BMW.relu_()
        ctx.save_for_backward(fields_BMd, weight, projected_BMP, out_BMW, *attention)
        ctx.parts, ctx.scale, ctx.rectified = parts, scale, bias is not None
        return out_BMW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BMW: Tensor) -> tuple[Tensor | None, ...]:
        fields_BMd, weight, projected_BMP, out_BMW, *attention = ctx.saved_tensors
        gradient_BMW = torch.ops.aten.threshold_backward(gradient_BMW, out_BMW, 0)
        projected_gradient_BMP = torch.empty_like(projected_BMP)
        heads = len(attention)
        of_heads = (_by_head(values, ctx.parts, heads) for values in (projected_BMP, projected_gradient_BMP))
        gradients = gradient_BMW.chunk(heads, 2)
        for gradient_BMK, attention_BMM, projected, places in zip(gradients, attention, *of_heads, strict=True):
            found = _head_gradients(gradient_BMK, attention_BMM, projected, ctx.scale)
            for place, values_BMK, value_BMK in zip(places, found, projected, strict=True):
                if ctx.rectified:
                    torch.ops.aten.threshold_backward.grad_input(values_BMK, value_BMK, 0, grad_input=place)
                else:
                    place.copy_(values_BMK)
        gradient_ZP = projected_gradient_BMP.flatten(0, 1)
        towards_fields = (gradient_ZP @ weight).view_as(fields_BMd) if ctx.needs_input_grad[0] else None
        towards_bias = gradient_ZP.sum(0) if ctx.rectified else None
        return towards_fields, gradient_ZP.t() @ fields_BMd.flatten(0, 1), towards_bias, None, None, None


def _by_head(values_BMP: Tensor, parts: int, heads: int) -> list[list[Tensor]]:
    """Of each head, views of its query, key, value and, if there is one, residual, [B, M, K] each."""
    pieces = values_BMP.chunk(parts * heads, 2)
    return [list(pieces[head::heads]) for head in range(heads)]


def _head_gradients(gradient_BMK: Tensor, attention_BMM: Tensor, projected: list[Tensor], scale: float) -> list[Tensor]:
    """Of query, key, value and residual, from the gradient of their head's output."""
    query, key, value = projected[:3]
    towards_BMM = torch.bmm(gradient_BMK, value.transpose(1, 2))
    scores_BMM = torch._softmax_backward_data(towards_BMM, attention_BMM, -1, towards_BMM.dtype).mul_(scale)
    found = [torch.bmm(scores_BMM, key), torch.bmm(scores_BMM.transpose(1, 2), query)]
    found.append(torch.bmm(attention_BMM.transpose(1, 2), gradient_BMK))
    return [*found, gradient_BMK][: len(projected)]
