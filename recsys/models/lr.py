"""Logistic regression over fields.

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension,
T tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys.config.sections.learning.models import LogisticRegressionConfig
from recsys.errors import InvalidValueError
from recsys.models.base import RankingModel


class LogisticRegression(RankingModel):
    """Of task t: logit = w0_t + sum_m w_mt.

    Coordinate t of a field's row is its weight w_mt; other coordinates are not used. It learns no interaction of
    fields: it is the floor that other models are compared with.
    """

    Config = LogisticRegressionConfig

    def __init__(
        self, config: LogisticRegressionConfig, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1
    ) -> None:
        super().__init__(n_sparse, n_numeric, dim, tasks)
        if dim < tasks:
            raise InvalidValueError(f"a row holds one weight a task: the dimension must be at least {tasks}, not {dim}")
        self.config: LogisticRegressionConfig = config
        self.bias = nn.Parameter(torch.zeros(tasks))

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        return self.bias + self._sum(self.fields(embedded_BFD, numeric_BN))

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        request_1MD, item_CMD, _ = self.fields_split(request_1FD, item_CFD, request_1N, item_CN)
        return self.bias + self._sum(request_1MD) + self._sum(item_CMD)

    def _sum(self, fields_BMD: Tensor) -> Tensor:
        return fields_BMD[..., : self.tasks].sum(1)
