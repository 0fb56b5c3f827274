"""What a model is trained to minimise. Shape suffixes: B training rows."""

from __future__ import annotations

from typing import Protocol

import torch
from torch.nn.functional import softplus

from streaming.encode.batch import TrainingBatch


class Loss(Protocol):
    """One number for a batch, differentiable in the logits."""

    def __call__(self, logits_B: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
        """The loss of `logits_B` on the labels of `batch`, a scalar."""
        ...


def weighted_log_loss(logits_B: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
    r"""Mean weighted log loss (AutoInt, section 4.7) of shown items, some of which come in two rows.

    mean over B of w (c softplus(z) - y z), for logits z, labels y, weights w and c = `counted_B`

    With c = 1 that is the log loss. An item learned as silent (c = 1, y = 0) and clicked later has a second row with
    c = 0, y = 1, whose gradient in z is -1: together they give p - y, the gradient of the log loss of the final label.
    """
    labels_B, counted_B, weights_B = map(torch.from_numpy, (batch.labels_B, batch.counted_B, batch.weights_B))
    return (weights_B * (counted_B * softplus(logits_B) - labels_B * logits_B)).mean()
