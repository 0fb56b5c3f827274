"""Reading rows, with gradients only for ids that still have the rows that were read. Suffix: N ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torchrec import KeyedJaggedTensor
from torchrec.distributed.embedding_types import KJTList

from embedding.store import RowNumbers
from embedding.torchrec.rows.resolved_rows import ResolvedRows
from embedding.torchrec.rows.row_copies import RowCopies, harmless


class ShardedLookup:
    """One pass of a sharded collection's kernels, on the process that owns the rows.

    Between forward and backward, ids may be removed and their rows given to others. The kernels' own backward pass
    would then train the wrong ids, so the forward pass is repeated for the ids that still have a row.
    """

    def __init__(
        self, kernels: Any, ctx: Any, features: Sequence[KeyedJaggedTensor], found: Sequence[ResolvedRows]
    ) -> None:
        self._kernels, self._ctx, self._features, self._found = kernels, ctx, features, found
        self._outputs: list[torch.Tensor] = []

    def rows(self) -> KJTList:
        """The features with rows in place of ids, below zero for ids without one."""
        pairs = zip(self._features, self._found, strict=True)
        return KJTList([_with_values(features, part.rows_N, features.lengths()) for features, part in pairs])

    def outputs(self) -> list[torch.Tensor]:
        """Pooled embeddings, differentiable if gradients are enabled."""
        if not torch.is_grad_enabled():
            return self._run(self._found)
        anchor = torch.zeros((), requires_grad=True)
        apply: Any = _Trained.apply  # has types since torch 2.14 only
        return list(apply(anchor, self))

    def forward(self) -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            self._outputs = self._run(self._found)
        return tuple(output.detach() for output in self._outputs)

    def backward(self, grads: tuple[torch.Tensor, ...]) -> None:
        """One fused optimizer step; a row that it would make NaN or infinite is left as it was."""
        found, outputs = self._found, self._outputs
        self._outputs = []  # the kernels' graph is for one step: the next backward pass makes its own
        if not outputs or any(part.changed() for part in found):
            found = [part.now() for part in found]
            with torch.enable_grad():
                outputs = self._run(found)
        copies = None if self._harmless(grads) else RowCopies([piece for part in found for piece in part.pieces])
        torch.autograd.backward(outputs, grads)
        if copies is not None:
            copies.undo()
        for part in found:
            part.learned()

    def _harmless(self, grads: tuple[torch.Tensor, ...]) -> bool:
        weights = [part.weights() for part in self._features if part.weights_or_none() is not None]
        ids = max((len(part.rows_N) for part in self._found), default=0)
        return not any(part.half() for part in self._found) and harmless(grads, weights, ids)

    def _run(self, found: Sequence[ResolvedRows]) -> list[torch.Tensor]:
        kept = [_without_misses(features, part.rows_N) for features, part in zip(self._features, found, strict=True)]
        outputs: list[torch.Tensor] = self._kernels.compute(self._ctx, KJTList(kept))
        return outputs


class _Trained(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: torch.Tensor, lookup: ShardedLookup) -> tuple[torch.Tensor, ...]:
        ctx.lookup = lookup
        ctx.save_for_backward(anchor)  # a second backward pass without retain_graph is PyTorch's usual error
        return lookup.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, None]:
        assert ctx.saved_tensors
        ctx.lookup.backward(grads)
        return None, None


def _without_misses(features: KeyedJaggedTensor, rows_N: RowNumbers) -> KeyedJaggedTensor:
    """`features` with these rows as values; rows below zero are dropped from their bags."""
    lengths, weights = features.lengths(), features.weights_or_none()
    if len(rows_N) and rows_N.min() < 0:
        kept_N = rows_N >= 0
        before = torch.from_numpy(np.concatenate([[0], kept_N.cumsum()]))
        lengths = before[features.offsets().cpu().long()].diff().to(lengths.device, lengths.dtype)
        rows_N, kept = rows_N[kept_N], torch.from_numpy(kept_N)
        weights = None if weights is None else weights[kept.to(weights.device)]
    return _with_values(features, rows_N, lengths, weights)


def _with_values(
    features: KeyedJaggedTensor, rows_N: RowNumbers, lengths: torch.Tensor, weights: torch.Tensor | None = None
) -> KeyedJaggedTensor:
    return KeyedJaggedTensor(
        keys=features.keys(),
        values=torch.from_numpy(rows_N).to(features.values().device),
        lengths=lengths,
        weights=weights,
        stride_per_key_per_rank=features._stride_per_key_per_rank,
        length_per_key=[len(rows_N)] if len(features.keys()) == 1 else None,  # else TorchRec sums lengths
    )
