"""A batch in parts whose activations stay in the processor's cache.

Shape suffixes: B training rows, F sparse fields, D embedding dimension, S = F * D, L places of a history, N numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.models.base import RankingModel
from recsys.training.embedding_layer import Embedded

PART_BYTES = 8 << 20
"""Of the widest activation of a part. Of 39 fields in AutoInt, parts of 5 to 10 MiB took the least time, 1 and 40 MiB a
fifth to a half more: large ones leave the cache, and the allocator gives them back to the system after each use. It is
a constant, not what this processor has, because the same batches must give the same bits on another machine."""


def rows_a_part(model: RankingModel) -> int | None:
    """Rows that `model` learns from at once; None if it cannot learn from parts, because its rows see each other."""
    return None if model.mixes_rows else max(PART_BYTES // (4 * model.widest), 1)


@dataclass(frozen=True, slots=True)
class BatchPart:
    """What a model reads of some rows of a batch. When learning, `pooled_BS` and `histories` are leaves."""

    pooled_BS: Tensor
    histories: list[Tensor]
    numeric_BN: Tensor
    fields: int

    def logits(self, model: RankingModel) -> Tensor:
        """[B, T], with the histories that the model pools itself."""
        width = self.pooled_BS.shape[1] // max(self.fields, 1)
        embedded_BFD = self.pooled_BS.view(len(self.pooled_BS), self.fields, width)
        found_BT: Tensor = model(model.attended(embedded_BFD, self.histories), self.numeric_BN)
        return found_BT


def cut(embedded: Embedded, numeric_BN: Tensor, size: int | None, *, learns: bool) -> Iterator[BatchPart]:
    """Parts of `size` rows, the last with fewer. A part that learns leaves its gradient in `embedded` when it ends."""
    whole = (embedded.pooled_BS, *embedded.histories)
    if size is None or len(numeric_BN) <= size:
        yield BatchPart(whole[0], list(whole[1:]), numeric_BN, embedded.fields)
        return
    for start in range(0, len(numeric_BN), size):
        rows = slice(start, start + size)
        own = [tensor[rows].detach().requires_grad_() if learns else tensor[rows] for tensor in whole]
        yield BatchPart(own[0], own[1:], numeric_BN[rows], embedded.fields)
        for tensor, part in zip(whole, own, strict=True):
            if part.grad is not None:
                tensor.grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
                tensor.grad[rows] = part.grad
