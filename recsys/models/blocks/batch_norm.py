"""Batch normalisation by the rows of a batch, in serving by their running means (Ioffe and Szegedy, ICML 2015).

Shape suffixes: B rows, H hidden units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.config.sections.learning.models import SMALLEST_BATCH

_MOMENTUM = 0.1
_EPS = 1e-5


class BatchNorm(nn.Module):
    """gamma (x - mean) / sqrt(variance + 1e-5) + beta of each hidden unit, [B, H] -> [B, H].

    In training mean and variance are those of the batch, which move the running ones by a tenth; in evaluation they are
    the running ones. Batches of fewer than `SMALLEST_BATCH` rows, as an online trainer has that has caught up, are
    normalised by the running ones in training, too, and leave them as they are.

    `torch.nn.BatchNorm1d` refuses a batch of one row, and counts batches in a buffer, which no exported graph reads.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    def forward(self, hidden_BH: Tensor) -> Tensor:
        of_batch = self.training and len(hidden_BH) >= SMALLEST_BATCH
        statistics = self.mean, self.variance
        return functional.batch_norm(hidden_BH, *statistics, self.weight, self.bias, of_batch, _MOMENTUM, _EPS)
