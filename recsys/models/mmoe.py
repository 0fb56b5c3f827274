"""MMoE: experts that tasks share, mixed by a gate of each task (Ma et al., KDD 2018).

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension,
K experts, O outputs of an expert, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recsys.config.sections.learning.models import MixtureOfExpertsConfig
from recsys.models.base import FieldAxes, RankingModel
from recsys.models.blocks.perceptron import Perceptron


class MixtureOfExperts(RankingModel):
    """logit_t = tower_t(sum_k g_tk(x) relu(f_k(x))), g_t(x) = softmax(W_t x + b_t) (eqs. 5-7).

    Experts f_k are perceptrons over all fields x. Models of the zoo with several tasks share everything below the last
    layer; here tasks that want different things of a row can use different experts. A tower without hidden layers is a
    weighted sum.
    """

    Config = MixtureOfExpertsConfig

    def __init__(self, config: MixtureOfExpertsConfig, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1) -> None:
        super().__init__(n_sparse, n_numeric, dim, tasks)
        self.config: MixtureOfExpertsConfig = config
        *hidden, outputs = config.expert_mlp
        dropout, norm = config.mlp_dropout, config.mlp_norm
        self.experts = nn.ModuleList(
            Perceptron(self.n_fields, dim, hidden, dropout, outputs, norm=norm, rectified=True)
            for _ in range(config.experts)
        )
        self.gates = Perceptron(self.n_fields, dim, (), outputs=tasks * config.experts)
        self.towers = nn.ModuleList(Perceptron(1, outputs, config.tower_mlp, dropout, norm=norm) for _ in range(tasks))

    def by_field(self) -> dict[str, FieldAxes]:
        experts = (f"experts.{number}.layers.0.weight" for number in range(self.config.experts))
        return super().by_field() | {name: FieldAxes((1,)) for name in experts}

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        fields_BMD = self.fields(embedded_BFD, numeric_BN)
        return self._logits(lambda network: network(fields_BMD))

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        split = self.fields_split(request_1FD, item_CFD, request_1N, item_CN)
        return self._logits(lambda network: network.forward_split(*split))

    def _logits(self, outputs: Callable[[Perceptron], Tensor]) -> Tensor:
        experts_BKO = torch.stack([outputs(expert) for expert in self.experts], 1).relu()  # type: ignore[arg-type]
        gates_BTK = outputs(self.gates).view(-1, self.tasks, self.config.experts).softmax(2)
        mixed_BTO = gates_BTK @ experts_BKO
        return torch.cat([tower(mixed_BTO[:, task : task + 1]) for task, tower in enumerate(self.towers)], 1)
