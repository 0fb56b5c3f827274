"""FinalMLP: two perceptrons whose outputs are multiplied (Mao et al., AAAI 2023, arXiv 2304.00902).

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension,
O, P outputs of the two perceptrons, H heads, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys.config.sections.learning.models import FinalMlpConfig
from recsys.models.base import FieldAxes, RankingModel
from recsys.models.blocks.perceptron import Perceptron


class BilinearFusion(nn.Module):
    """Of task t: logit = b_t + w_t o + u_t p + sum_h o_h^T W_th p_h, with o, p cut into `heads` parts (eqs. 8-10)."""

    def __init__(self, first: int, second: int, heads: int, tasks: int) -> None:
        super().__init__()
        self.heads, self.tasks = heads, tasks
        self.first = nn.Linear(first, tasks)
        self.second = nn.Linear(second, tasks, bias=False)
        self.products = nn.Parameter(torch.empty(heads, first // heads, tasks * (second // heads)))
        for weight in (self.first.weight, self.second.weight, *self.products):
            nn.init.xavier_normal_(weight)
        nn.init.zeros_(self.first.bias)

    def forward(self, first_BO: Tensor, second_BP: Tensor) -> Tensor:
        batch, heads, size = first_BO.shape[0], self.heads, second_BP.shape[1] // self.heads
        weighted = first_BO.view(batch, heads, first_BO.shape[1] // heads).transpose(0, 1) @ self.products
        second = second_BP.view(batch, heads, 1, size).transpose(0, 1)
        products_BT = (weighted.view(heads, batch, self.tasks, size) * second).sum((0, 3))
        logits_BT: Tensor = self.first(first_BO) + self.second(second_BP) + products_BT
        return logits_BT


class FinalMlp(RankingModel):
    """Each perceptron reads the fields' vectors times its own gates, 2 sigmoid(g) of each coordinate of each field.

    The paper computes g by a network from chosen fields, or from one learned vector when none is chosen; the latter is
    a learned constant, which is learned here directly. Gates begin at 1. Each task has its own fusion.
    """

    Config = FinalMlpConfig

    def __init__(self, config: FinalMlpConfig, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1) -> None:
        super().__init__(n_sparse, n_numeric, dim, tasks)
        self.config: FinalMlpConfig = config
        self.first, self.second = (
            Perceptron(
                self.n_fields, dim, sizes[:-1], config.mlp_dropout, sizes[-1], norm=config.mlp_norm, rectified=True
            )
            for sizes in (config.mlp, config.second_mlp)
        )
        self.gates_2MD = nn.Parameter(torch.zeros(2, self.n_fields, dim)) if config.gates else None
        self.fusion = BilinearFusion(config.mlp[-1], config.second_mlp[-1], config.heads, tasks)

    def by_field(self) -> dict[str, FieldAxes]:
        return super().by_field() | ({} if self.gates_2MD is None else {"gates_2MD": FieldAxes((1,))})

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        fields_BMD = self.fields(embedded_BFD, numeric_BN)
        first_BO = self.first(self._gated(fields_BMD, 0, range(self.n_fields)))
        second_BP = self.second(self._gated(fields_BMD, 1, range(self.n_fields)))
        logits_BT: Tensor = self.fusion(first_BO.relu(), second_BP.relu())
        return logits_BT

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        request, item, order = self.fields_split(request_1FD, item_CFD, request_1N, item_CN)
        places = order[: request.shape[1]], order[request.shape[1] :]
        first_CO, second_CP = (
            network.forward_split(self._gated(request, number, places[0]), self._gated(item, number, places[1]), order)
            for number, network in enumerate((self.first, self.second))
        )
        logits_CT: Tensor = self.fusion(first_CO.relu(), second_CP.relu())
        return logits_CT

    def _gated(self, fields_BMD: Tensor, network: int, places: Sequence[int]) -> Tensor:
        """The vectors of the fields at `places`, weighed for one of the networks."""
        if self.gates_2MD is None:
            return fields_BMD
        return fields_BMD * (2 * self.gates_2MD[network, list(places)].sigmoid())
