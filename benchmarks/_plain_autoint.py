"""AutoInt as one would write it in plain PyTorch, with `nn.Embedding`: the peer of `train`.

Shape suffixes: B rows, F sparse fields, N numeric fields, M = F + N fields, D embedding dimension.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import binary_cross_entropy_with_logits


@dataclass(frozen=True, slots=True)
class Form:
    """What is open to choice without another result: the fastest is the peer."""

    sparse: bool
    """Whether the gradient of `nn.Embedding` is sparse."""
    fused: bool
    """Whether attention is PyTorch's `scaled_dot_product_attention`, or products and a softmax."""

    @classmethod
    def all(cls) -> list[Form]:
        return [cls(sparse, fused) for sparse, fused in itertools.product((True, False), repeat=2)]

    def __str__(self) -> str:
        gradient, attention = "sparse" if self.sparse else "dense", "fused" if self.fused else "by products"
        return f"{gradient} gradient, attention {attention}"


class PlainLayer(nn.Module):
    """One interacting layer in the form of AutoInt's code, [B, M, d] -> [B, M, units]."""

    def __init__(self, width_in: int, heads: int, units: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.units, self.fused = heads, units, fused
        self.projection = nn.Linear(width_in, 4 * units)
        self.norm = nn.LayerNorm(units, eps=1e-8)

    def forward(self, fields_BMd: Tensor) -> Tensor:
        parts = torch.split(functional.relu(self.projection(fields_BMd)), self.units, -1)
        query, key, value = (torch.unflatten(part, -1, (self.heads, -1)).transpose(1, 2) for part in parts[:3])
        if self.fused:
            mixed = functional.scaled_dot_product_attention(query, key, value)
        else:
            weights = torch.softmax(query @ key.transpose(2, 3) * (self.units // self.heads) ** -0.5, -1)
            mixed = weights @ value
        normed: Tensor = self.norm(functional.relu(mixed.transpose(1, 2).flatten(2) + parts[3]))
        return normed


class PlainAutoInt(nn.Module):
    """Layers over one `nn.Embedding` for all sparse fields, and a vector times the number for each numeric one.

    Parameters of the network have the names of `recsys.models.autoint.AutoInt`.
    """

    def __init__(
        self, rows: int, fields: tuple[int, int], dim: int, layers: int, heads: int, units: int, form: Form
    ) -> None:
        super().__init__()
        sparse, numeric = fields
        self.embedding = nn.Embedding(rows, dim, sparse=form.sparse)
        self.numeric_ND = nn.Parameter(torch.zeros(numeric, dim)) if numeric else None
        widths = [dim, *[units] * layers]
        self.layers = nn.ModuleList(PlainLayer(width, heads, units, fused=form.fused) for width in widths[:-1])
        self.output = nn.Linear((sparse + numeric) * units, 1)

    def forward(self, rows_BF: Tensor, numeric_BN: Tensor) -> Tensor:
        mixed = self.embedding(rows_BF)
        if self.numeric_ND is not None:
            mixed = torch.cat([mixed, numeric_BN.unsqueeze(-1) * self.numeric_ND], 1)
        for layer in self.layers:
            mixed = layer(mixed)
        logits_B: Tensor = self.output(mixed.flatten(1)).squeeze(1)
        return logits_B


@dataclass(frozen=True, slots=True)
class PlainBatch:
    """Tensors that are ready: row numbers of the embedding, scaled numbers, labels."""

    rows_BF: Tensor
    numeric_BN: Tensor
    labels_B: Tensor


class PlainTrainer:
    """Adam for the network and Adagrad for embedding rows, as ours."""

    def __init__(self, model: PlainAutoInt, dense_lr: float, sparse_lr: float) -> None:
        self.model = model
        dense = [weight for weight in model.parameters() if weight is not model.embedding.weight]
        self._optimizers: Sequence[torch.optim.Optimizer] = (
            torch.optim.Adam(dense, lr=dense_lr),
            torch.optim.Adagrad([model.embedding.weight], lr=sparse_lr, eps=1e-8),
        )

    def step(self, batch: PlainBatch) -> Tensor:
        """Learn from a batch; returns its logits [B] of before."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        logits_B: Tensor = self.model(batch.rows_BF, batch.numeric_BN)
        binary_cross_entropy_with_logits(logits_B, batch.labels_B).backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
        return logits_B.detach()
