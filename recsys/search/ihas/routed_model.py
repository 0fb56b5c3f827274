"""Gates, router and the models of all groups as one network, which a server runs as any other.

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, K coordinates of a model's row, D of a served
row, G groups, X = F * K, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recsys.models.base import RankingModel
from recsys.models.blocks.instance_gates import Gates
from recsys.search.ihas.contender import FittedMember
from recsys.search.ihas.grouping import Grouping
from recsys.search.ihas.served_rows import ServedRows


class RoutedModel(RankingModel):
    """The logits of the model of each row's own group, calibrated on that group's validation rows.

    A served row has the coordinates that the gates read, and after them those of each group. All groups' models score
    each row, and one of the scores is chosen: a batch then has no groups of rows to divide and join.
    """

    centroids_GX: Tensor
    places_GFK: Tensor
    factors_G: Tensor
    constants_G: Tensor

    def __init__(self, gates: Gates, grouping: Grouping, members: Sequence[FittedMember], rows: ServedRows) -> None:
        first = members[0].net.model
        super().__init__(first.n_sparse, first.n_numeric, rows.dim, first.tasks)
        self.numeric_ND = None  # each group's model has its own
        self.gates, self._searched = gates, rows.searched
        self.models = nn.ModuleList(member.net.model for member in members)
        self.register_buffer("centroids_GX", torch.from_numpy(grouping.centroids_CX))
        self.register_buffer("places_GFK", torch.from_numpy(np.stack(rows.places_GFK)))
        factors, constants = zip(*(member.calibration() for member in members), strict=True)
        self.register_buffer("factors_G", torch.tensor(factors, dtype=torch.float32))
        self.register_buffer("constants_G", torch.tensor(constants, dtype=torch.float32))

    def groups(self, embedded_BFD: Tensor) -> Tensor:
        """The group [B] of each row: that whose centroid is nearest to its gates."""
        open_BX = self.gates(embedded_BFD[:, :, : self._searched]).flatten(1)
        return torch.argmin((open_BX.unsqueeze(1) - self.centroids_GX).square().sum(2), 1)

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        padded_BFD = nn.functional.pad(embedded_BFD, (0, 1))  # the coordinate of those that a group does not keep
        logits = []
        for model, places_FK in zip(self.models, self.places_GFK, strict=True):
            own_BFK = padded_BFD.gather(2, places_FK.expand(len(padded_BFD), -1, -1))
            logits.append(model(own_BFK, numeric_BN))
        logits_BGT = torch.stack(logits, 1) * self.factors_G[:, None] + self.constants_G[:, None]
        chosen_B11 = self.groups(embedded_BFD)[:, None, None]
        return logits_BGT.gather(1, chosen_B11.expand(-1, -1, self.tasks)).squeeze(1)

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        candidates = item_CFD.shape[0]
        embedded_CFD = torch.cat([request_1FD.expand(candidates, -1, -1), item_CFD], 1)
        logits_CT: Tensor = self(embedded_CFD, torch.cat([request_1N.expand(candidates, -1), item_CN], 1))
        return logits_CT
