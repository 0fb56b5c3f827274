"""DCN-V2: a cross network beside a perceptron (Wang et al., WWW 2021, arXiv 2008.13535).

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension,
I = M * D inputs, R rank, T tasks.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from recsys.config.sections.learning.models import CrossNetworkConfig
from recsys.models.base import FieldAxes, RankingModel
from recsys.models.blocks.perceptron import Perceptron


class CrossLayer(nn.Module):
    """x0 * (W x + b) + x, [B, I] -> [B, I] (eq. 1), with W = U V^T of rank `rank` (eq. 5), or full if that is 0."""

    def __init__(self, size: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(size, rank, bias=False) if rank else nn.Identity()
        self.up = nn.Linear(rank or size, size)
        for layer in (self.down, self.up):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, start_BI: Tensor, crossed_BI: Tensor) -> Tensor:
        weighted_BI: Tensor = self.up(self.down(crossed_BI))
        return start_BI * weighted_BI + crossed_BI

    def by_field(self, name: str) -> dict[str, FieldAxes]:
        """The axes of its parameters, whose names begin with `name`."""
        axes = {f"{name}.up.bias": FieldAxes((0,))}
        if isinstance(self.down, nn.Linear):
            return axes | {f"{name}.down.weight": FieldAxes((1,)), f"{name}.up.weight": FieldAxes((0,))}
        return axes | {f"{name}.up.weight": FieldAxes((0, 1))}


class CrossNetwork(RankingModel):
    """DCN-V2 in its parallel form: logits = W_x x_L + b + mlp(x_0), with x_0 the fields' vectors side by side.

    W_x and the last layer of the perceptron are each task's own. The paper joins both networks' outputs before one
    last layer, which is the same sum.
    """

    Config = CrossNetworkConfig

    def __init__(self, config: CrossNetworkConfig, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1) -> None:
        super().__init__(n_sparse, n_numeric, dim, tasks)
        self.config: CrossNetworkConfig = config
        size = self.n_fields * dim
        self.cross = nn.ModuleList(CrossLayer(size, config.rank) for _ in range(config.layers))
        self.output = nn.Linear(size, tasks)
        nn.init.normal_(self.output.weight, std=math.sqrt(2 / (size + tasks)))
        nn.init.zeros_(self.output.bias)
        self.mlp = None
        if config.mlp:
            self.mlp = Perceptron(self.n_fields, dim, config.mlp, config.mlp_dropout, tasks, norm=config.mlp_norm)

    def by_field(self) -> dict[str, FieldAxes]:
        axes = super().by_field() | {"output.weight": FieldAxes((1,))}
        for number, layer in enumerate(self.cross):
            assert isinstance(layer, CrossLayer)
            axes |= layer.by_field(f"cross.{number}")
        return axes

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        fields_BMD = self.fields(embedded_BFD, numeric_BN)
        logits_BT = self._crossed(fields_BMD)
        return logits_BT if self.mlp is None else logits_BT + self.mlp(fields_BMD)

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        request_1MD, item_CMD, order = self.fields_split(request_1FD, item_CFD, request_1N, item_CN)
        logits_CT = self._crossed(self.joined(request_1MD, item_CMD, order))
        return logits_CT if self.mlp is None else logits_CT + self.mlp.forward_split(request_1MD, item_CMD, order)

    def _crossed(self, fields_BMD: Tensor) -> Tensor:
        start_BI = crossed_BI = fields_BMD.flatten(1)
        for layer in self.cross:
            crossed_BI = layer(start_BI, crossed_BI)
        logits_BT: Tensor = self.output(crossed_BI)
        return logits_BT
