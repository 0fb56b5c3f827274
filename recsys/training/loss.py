"""What a model is trained to minimise. Shape suffixes: B training rows, T tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch.nn.functional import softplus

from recsys.training.negative_sampling import SampledBatch
from streaming.encode.batch import TrainingBatch


class Loss(Protocol):
    """A mean over the rows of a batch, differentiable in the logits.

    So the loss of a batch is the sum of those of its parts, each times its share of the rows.
    """

    def __call__(self, logits_BT: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
        """The loss of `logits_BT` on the labels of `batch`, a scalar."""
        ...


class WeightedLogLoss:
    r"""Mean weighted log loss (AutoInt, section 4.7) of shown items, some of which come in two rows.

    mean over B of w_t w (c softplus(z) - y z), for logits z of each row's own task t, labels y, weights w of rows and
    w_t of tasks, and c = `counted_B`

    With c = 1 that is the log loss. An item learned as silent (c = 1, y = 0) and clicked later has a second row with
    c = 0, y = 1, whose gradient in z is -1: together they give p - y, the gradient of the log loss of the final label.
    Of a `SampledBatch`, z is the logit plus the row's shift.
    """

    def __init__(self, task_weights: Sequence[float] = (1.0,)) -> None:
        self._weights_T = torch.tensor(task_weights, dtype=torch.float32)

    def __call__(self, logits_BT: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
        labels_B, counted_B, weights_B = map(torch.from_numpy, (batch.labels_B, batch.counted_B, batch.weights_B))
        tasks_B = torch.from_numpy(batch.tasks_B)
        logits_B = own_task(logits_BT, tasks_B)
        if isinstance(batch, SampledBatch):
            logits_B = logits_B + torch.from_numpy(batch.shifts_B)
        weights_B = weights_B * self._weights_T[tasks_B]
        return (weights_B * (counted_B * softplus(logits_B) - labels_B * logits_B)).mean()


def own_task(logits_BT: torch.Tensor, tasks_B: torch.Tensor) -> torch.Tensor:
    """The logit of each row's own task, [B]."""
    return logits_BT.gather(1, tasks_B.unsqueeze(1)).squeeze(1)
