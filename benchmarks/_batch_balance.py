"""Kernel balancing as the authors' code has it, for comparison: Li et al., ICLR 2024, the random variant with IPS.

https://github.com/haoxuanli-pku/ICLR24-Kernel-Balancing. In every mini-batch of B observed pairs S, with G * B pairs T
of all, anchors are drawn anew, a model of weights takes a step on

mean_S[w log w] + gamma (max(0, D - C) + max(0, -D - C)),  D = sum_j (mean_T k(x, a_j) - mean_S[w k(x, a_j)]),

then the prediction takes one with the weights. Shape suffixes: R observed pairs, S and T as above, J anchors, F
coordinates of covariates.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, relu

from recsys.debiasing.feedback import Floats, Ints

BATCH, ALL, ANCHORS, DIM = 128, 5, 3, 4
GAMMA, TOLERANCE = 1.0, 0.01
LR, L2, WEIGHT_LR, WEIGHT_L2 = 0.01, 1e-3, 5e-3, 5e-2
PATIENCE, LEAST = 7, 1e-5


class _Product(nn.Module):
    def __init__(self, users: int, items: int) -> None:
        super().__init__()
        self.users, self.items = nn.Parameter(torch.rand(users, DIM)), nn.Parameter(torch.rand(items, DIM))

    def forward(self, pairs_S2: Tensor) -> Tensor:
        return torch.sigmoid((self.users[pairs_S2[:, 0]] * self.items[pairs_S2[:, 1]]).sum(1))


def fit(pairs_R2: Ints, labels_R: Floats, inverse_R: Floats, users_UF: Floats, items_IF: Floats, most: int) -> int:
    """Train until the loss stands still, for at most so many epochs; the epochs that it took."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    shape = len(users_UF), len(items_IF)
    predicted, weighing = _Product(*shape), _Product(*shape)
    step = torch.optim.Adam(predicted.parameters(), lr=LR, weight_decay=L2)
    weight_step = torch.optim.Adam(weighing.parameters(), lr=WEIGHT_LR, weight_decay=WEIGHT_L2)
    covariates = torch.from_numpy(users_UF).float(), torch.from_numpy(items_IF).float()
    labels, inverse = torch.from_numpy(labels_R).float(), torch.from_numpy(inverse_R).float()
    last, still = np.inf, 0
    for epoch in range(most):
        total = 0.0
        order_R = rng.permutation(len(pairs_R2))
        for part in range(len(order_R) // BATCH):
            rows = order_R[part * BATCH : (part + 1) * BATCH]
            seen_S2 = torch.from_numpy(pairs_R2[rows])
            drawn_T2 = torch.from_numpy(rng.integers(0, shape, (BATCH * ALL, 2)))
            _balance(weighing, weight_step, seen_S2, drawn_T2, inverse[rows], covariates)
            weights_S = weighing(seen_S2).detach() * inverse[rows]
            loss = binary_cross_entropy(predicted(seen_S2), labels[rows], weights_S)
            step.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            step.step()
            total += float(loss.detach())
        still = still + 1 if abs(last - total) / abs(last) < LEAST or total > last else 0
        last = total
        if still >= PATIENCE:
            return epoch + 1
    return most


def _balance(
    weighing: _Product,
    step: torch.optim.Adam,
    seen_S2: Tensor,
    drawn_T2: Tensor,
    inverse_S: Tensor,
    covariates: tuple[Tensor, Tensor],
) -> None:
    rows_SF, all_TF = (_rows(pairs, covariates) for pairs in (seen_S2, drawn_T2))
    anchors_JF = all_TF[torch.randint(len(all_TF), (ANCHORS,))]
    weights_S = weighing(seen_S2) * inverse_S
    gap = (_kernel(all_TF, anchors_JF).mean(0) - (weights_S[:, None] * _kernel(rows_SF, anchors_JF)).mean(0)).sum()
    hinges = relu(gap - TOLERANCE) + relu(-gap - TOLERANCE)
    loss = (weights_S * weights_S.log()).mean() + GAMMA * hinges
    step.zero_grad()
    loss.backward()
    step.step()


def _rows(pairs_S2: Tensor, covariates: tuple[Tensor, Tensor]) -> Tensor:
    return torch.cat([covariates[0][pairs_S2[:, 0]], covariates[1][pairs_S2[:, 1]]], dim=1)


def _kernel(rows_SF: Tensor, anchors_JF: Tensor) -> Tensor:
    return torch.exp(-0.1 * torch.cdist(rows_SF, anchors_JF).square())
