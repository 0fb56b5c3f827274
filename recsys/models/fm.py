"""Factorisation machine, and with a perceptron DeepFM (Rendle 2010, eq. 1; Guo et al., arXiv 1703.04247).

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension,
T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys.config.sections.learning.models import FactorizationMachineConfig
from recsys.errors import InvalidValueError
from recsys.models.base import RankingModel
from recsys.models.blocks.perceptron import Perceptron


class FactorizationMachine(RankingModel):
    """logit = w0 + sum_m w_m + sum_{m < n} <v_m, v_n>, plus a perceptron's logit over the flattened vectors.

    Coordinate 0 of a field's row is its first-order weight w_m, the others are v_m: one row per id holds both. Tasks
    share the sums; w0 and the perceptron's logit are each task's own.
    """

    Config = FactorizationMachineConfig

    def __init__(
        self, config: FactorizationMachineConfig, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1
    ) -> None:
        super().__init__(n_sparse, n_numeric, dim, tasks)
        if dim < 2:
            raise InvalidValueError(
                "one coordinate of a row is its first-order weight: the dimension must be at least 2"
            )
        if tasks > 1 and not config.mlp:
            raise InvalidValueError("a plain factorisation machine ranks alike for all tasks: give it an mlp")
        self.config: FactorizationMachineConfig = config
        self.bias = nn.Parameter(torch.zeros(tasks))
        self.mlp = None
        if config.mlp:
            sizes = self.n_fields, dim - 1, config.mlp
            self.mlp = Perceptron(*sizes, config.mlp_dropout, tasks, norm=config.mlp_norm)

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        fields_BMD = self.fields(embedded_BFD, numeric_BN)
        vectors = fields_BMD[..., 1:]
        first_order_BT = self.bias + fields_BMD[..., 0].sum(1, keepdim=True)
        logits_BT = first_order_BT + _pairs(vectors.sum(1), vectors.square().sum((1, 2)))
        return logits_BT if self.mlp is None else logits_BT + self.mlp(vectors)

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        request_1MD, item_CMD, order = self.fields_split(request_1FD, item_CFD, request_1N, item_CN)
        request, item = request_1MD[..., 1:], item_CMD[..., 1:]
        first_order_CT = self.bias + request_1MD[..., 0].sum(1, keepdim=True) + item_CMD[..., 0].sum(1, keepdim=True)
        squares_C = request.square().sum((1, 2)) + item.square().sum((1, 2))
        logits_CT = first_order_CT + _pairs(request.sum(1) + item.sum(1), squares_C)
        return logits_CT if self.mlp is None else logits_CT + self.mlp.forward_split(request, item, order)


def _pairs(sum_BD: Tensor, squares_B: Tensor) -> Tensor:
    """Sum of all pairs' inner products, [B, 1]: half of |sum v|^2 - sum |v|^2 (Rendle, lemma 3.1)."""
    return 0.5 * (sum_BD.square().sum(1) - squares_B).unsqueeze(1)
