"""What a model is trained to minimise. Shape suffixes: B training rows."""

from __future__ import annotations

from typing import Protocol

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from streaming.encode.batch import TrainingBatch


class Loss(Protocol):
    """One number for a batch, differentiable in the logits."""

    def __call__(self, logits_B: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
        """The loss of `logits_B` on the labels of `batch`, a scalar."""
        ...


def weighted_log_loss(logits_B: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
    """Mean over rows of weight times log loss (AutoInt, section 4.7)."""
    labels_B, weights_B = torch.from_numpy(batch.labels_B), torch.from_numpy(batch.weights_B)
    return binary_cross_entropy_with_logits(logits_B, labels_B, weights_B)
