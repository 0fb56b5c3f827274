"""A DeepFM behind gates that each row opens for itself: the soft form of iHAS inside one model.

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension,
T tasks.
"""

from __future__ import annotations

from torch import Tensor

from recsys.config.sections.learning.models import FactorizationMachineConfig, GatedConfig
from recsys.models.base import FieldAxes, RankingModel
from recsys.models.blocks.instance_gates import Gates, penalty
from recsys.models.fm import FactorizationMachine


class GatedModel(RankingModel):
    """logit = DeepFM(pi_1 * v_1, ..., pi_M * v_M), with gates pi = sigmoid(perceptron(v_1, ..., v_M)).

    Where iHAS draws gates and then shuts them, these stay numbers between 0 and 1: nothing is cut away, so the model
    can go on learning what a row needs.
    """

    Config = GatedConfig

    def __init__(self, config: GatedConfig, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1) -> None:
        super().__init__(n_sparse, n_numeric, dim, tasks)
        self.config: GatedConfig = config
        own = FactorizationMachineConfig(mlp=config.mlp, mlp_dropout=config.mlp_dropout, mlp_norm=config.mlp_norm)
        self.predictor = FactorizationMachine(own, self.n_fields, 0, dim, tasks)  # all fields come as vectors
        self.gates = Gates(self.n_fields, dim, config.gates)
        self._penalty_B: Tensor | None = None

    def by_field(self) -> dict[str, FieldAxes]:
        predictor = {f"predictor.{name}": axes for name, axes in self.predictor.by_field().items()}
        return super().by_field() | predictor | self.gates.by_field("gates")

    def penalty(self) -> Tensor | None:
        found, self._penalty_B = self._penalty_B, None
        return found

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        fields_BMD = self.fields(embedded_BFD, numeric_BN)
        open_BMD = self.gates(fields_BMD)
        if self.training:
            self._penalty_B = penalty(open_BMD, self.config.sparsity, self.config.polarization)
        return self._logits(fields_BMD * open_BMD)

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        split = self.fields_split(request_1FD, item_CFD, request_1N, item_CN)
        return self._logits(self.joined(*split) * self.gates.forward_split(*split))

    def _logits(self, gated_BMD: Tensor) -> Tensor:
        logits_BT: Tensor = self.predictor(gated_BMD, gated_BMD[:, 0, :0])
        return logits_BT
