"""Gates on the coordinates of the fields, opened for each row by what it reads.

iHAS: Instance-wise Hierarchical Architecture Search (Yu, Qi, Yang, Jiang, Niu, CIKM 2023, arXiv 2309.07967). Its code
and its body are not public: the stages are those of its abstract, the equations a reconstruction.

Shape suffixes: B rows, C candidates, F fields, K coordinates of a field.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys.models.base import FieldAxes
from recsys.models.blocks.perceptron import Perceptron

_OPEN = 2.0
"""Initial bias of the gates: they begin open with probability 0.88, so that rows have something to learn."""


class Gates(nn.Module):
    """pi = sigmoid(perceptron(all e_f)): the probability that each coordinate of each field is kept, [B, F, K]."""

    def __init__(self, fields: int, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self._shape = fields, dim
        self.network = Perceptron(fields, dim, hidden, outputs=fields * dim)
        last = self.network.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, _OPEN)

    def forward(self, embedded_BFK: Tensor) -> Tensor:
        return self._opened(self.network(embedded_BFK))

    def forward_split(self, request_1FK: Tensor, item_CFK: Tensor, order: Sequence[int]) -> Tensor:
        """As `forward` of the joined rows, [C, F, K]; `order` is that of `Perceptron.forward_split`."""
        return self._opened(self.network.forward_split(request_1FK, item_CFK, order))

    def _opened(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs).view(-1, *self._shape)

    def by_field(self, name: str) -> dict[str, FieldAxes]:
        """The axes of its parameters, whose names begin with `name`; there is a hidden layer."""
        last = len(self.network.layers) - 1
        layers = f"{name}.network.layers"
        outputs = {f"{layers}.{last}.{part}": FieldAxes((0,)) for part in ("weight", "bias")}
        return {f"{layers}.0.weight": FieldAxes((1,))} | outputs


def penalty(open_BFK: Tensor, sparsity: float, polarization: float) -> Tensor:
    """Of each row, [B]: sparsity mean(pi) + polarization mean(pi (1 - pi)): few open gates, each certain of itself.

    >>> round(float(penalty(torch.tensor([[[0.5, 1.0]]]), sparsity=0.1, polarization=1.0)), 3)
    0.2
    """
    return (sparsity * open_BFK + polarization * (open_BFK * (1 - open_BFK))).mean((1, 2))
