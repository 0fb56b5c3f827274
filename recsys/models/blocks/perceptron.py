"""A perceptron over fields, with dropout and normalisation of its hidden layers.

Shape suffixes: B rows, C candidates, M fields, D embedding dimension, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from recsys.config.sections.learning.models import Norm
from recsys.models.blocks.batch_norm import BatchNorm


class Perceptron(nn.Module):
    """Fully connected network with ReLU over flattened fields, ending in `outputs` numbers.

    Weights are Glorot normal as in AutoInt's code; biases start at zero (the code draws them at random). Hidden layers
    are normalised before the ReLU; with `rectified`, the outputs are those of such a layer, before its ReLU. A layer
    that batch norm follows has no bias: the mean takes it away, so its gradient would be rounding, of which Adam makes
    whole steps.
    """

    def __init__(
        self,
        n_fields: int,
        dim: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        outputs: int = 1,
        *,
        norm: Norm = "none",
        rectified: bool = False,
    ) -> None:
        super().__init__()
        self.n_fields, self.dim, self.dropout = n_fields, dim, dropout
        sizes = [n_fields * dim, *hidden, outputs]
        normed = [norm] * len(hidden) + [norm if rectified else "none"]
        biases = [name != "batch" for name in normed]
        self.layers = nn.ModuleList(nn.Linear(*ab, bias=b) for ab, b in zip(pairwise(sizes), biases, strict=True))
        for layer, (a, b) in zip(self.layers, pairwise(sizes), strict=True):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (a + b)))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.norms = nn.ModuleList(_norm(name, size) for name, size in zip(normed, sizes[1:], strict=True))

    def forward(self, fields_BMD: Tensor) -> Tensor:
        return self._after_first(self.layers[0](fields_BMD.flatten(1)))

    def forward_split(self, request_1MD: Tensor, item_CMD: Tensor, order: Sequence[int]) -> Tensor:
        """As `forward`, but the request's share of the first layer is computed once."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        weight_HMD = first.weight.view(-1, self.n_fields, self.dim)
        cut = request_1MD.shape[1]
        hidden: Tensor | None = first.bias
        if cut:
            request_weight = weight_HMD[:, list(order[:cut])].flatten(1)
            hidden = functional.linear(request_1MD.flatten(1), request_weight, hidden)
        if cut < self.n_fields:
            item_weight = weight_HMD[:, list(order[cut:])].flatten(1)
            items = functional.linear(item_CMD.flatten(1), item_weight)
            hidden = items if hidden is None else hidden + items
        else:
            assert hidden is not None
            hidden = hidden.expand(item_CMD.shape[0], -1)
        return self._after_first(hidden)

    def _after_first(self, hidden: Tensor) -> Tensor:
        for norm, layer in zip(self.norms, self.layers[1:], strict=False):
            hidden = layer(drop(functional.relu(norm(hidden)), self.dropout, self.training))
        normed: Tensor = self.norms[-1](hidden)
        return normed


def _norm(name: Norm, size: int) -> nn.Module:
    match name:
        case "batch":
            return BatchNorm(size)
        case "layer":
            return nn.LayerNorm(size)
        case "none":
            return nn.Identity()


def drop(values: Tensor, probability: float, training: bool) -> Tensor:
    """Dropout, skipped if nothing is dropped."""
    return functional.dropout(values, probability, training) if probability and training else values
