"""Reading rows with gradients that reach only the ids that were read. Suffix: N ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torchrec import KeyedJaggedTensor
from torchrec.distributed.embedding_types import KJTList

from embedding.store import Rows
from embedding.torchrec.ids import Found


class Lookup:
    """One pass of a sharded collection's kernels, on the process that owns the rows.

    Between forward and backward, ids may go and their rows be given to others. Then the kernels' own backward would
    train the wrong ids; so it is repeated for those that are still there.
    """

    def __init__(self, kernels: Any, ctx: Any, rows: KJTList, found: Sequence[Sequence[Found]]) -> None:
        self._kernels, self._ctx, self._features, self._found = kernels, ctx, list(rows), found
        self._outputs: list[torch.Tensor] = []

    def outputs(self) -> list[torch.Tensor]:
        """Pooled embeddings, differentiable when gradients are on."""
        if not torch.is_grad_enabled():
            return self._run(self._found)
        anchor = torch.zeros((), requires_grad=True)
        return list(_Trained.apply(anchor, self))  # type: ignore[no-untyped-call]

    def forward(self) -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            self._outputs = self._run(self._found)
        return tuple(output.detach() for output in self._outputs)

    def backward(self, grads: tuple[torch.Tensor, ...]) -> None:
        """One fused optimizer step."""
        found = self._found
        if any(each.changed() for part in found for each in part):
            found = [[each.now() for each in part] for part in found]
            with torch.enable_grad():
                self._outputs = self._run(found)
        torch.autograd.backward(self._outputs, grads)
        self._outputs = []
        for part in found:
            for each in part:
                each.learned()

    def _run(self, found: Sequence[Sequence[Found]]) -> list[torch.Tensor]:
        rows = [np.concatenate([each.rows_N for each in part]) for part in found]
        kept = [_without_misses(features, part) for features, part in zip(self._features, rows, strict=True)]
        outputs: list[torch.Tensor] = self._kernels.compute(self._ctx, KJTList(kept))
        return outputs


class _Trained(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _: torch.Tensor, lookup: Lookup) -> tuple[torch.Tensor, ...]:
        ctx.lookup = lookup
        return lookup.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, None]:
        ctx.lookup.backward(grads)
        return None, None


def _without_misses(features: KeyedJaggedTensor, rows_N: Rows) -> KeyedJaggedTensor:
    """`features` with these rows as values; rows below zero leave their bags."""
    values, lengths, weights = torch.from_numpy(rows_N), features.lengths(), features.weights_or_none()
    if len(rows_N) and rows_N.min() < 0:
        kept = values >= 0
        before = torch.cat([torch.zeros(1, dtype=torch.int64), kept.cumsum(0)])
        offsets = before[features.offsets().cpu().long()]
        lengths = offsets.diff().to(lengths.device, lengths.dtype)
        values, weights = values[kept], None if weights is None else weights[kept.to(weights.device)]
    return KeyedJaggedTensor(
        keys=features.keys(),
        values=values.to(features.values().device),
        lengths=lengths,
        weights=weights,
        stride_per_key_per_rank=features._stride_per_key_per_rank,
    )
