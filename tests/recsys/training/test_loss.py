"""The loss of a batch, and what two rows of one shown item come to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from recsys.training.loss import WeightedLogLoss
from streaming.encode.batch import TrainingBatch


def batch(
    labels: list[float], counted: list[float], weights: list[float] | None = None, tasks: list[int] | None = None
) -> TrainingBatch:
    rows = len(labels)
    return TrainingBatch(
        ids={},
        numeric_BN=np.zeros((rows, 0), np.float32),
        labels_B=np.array(labels, np.float32),
        counted_B=np.array(counted, np.float32),
        keys_B=np.arange(rows),
        tasks_B=np.zeros(rows, np.int64) if tasks is None else np.array(tasks, np.int64),
        weights_B=np.ones(rows, np.float32) if weights is None else np.array(weights, np.float32),
        propensities_B=np.ones(rows, np.float32),
        positions_B=np.zeros(rows, np.int32),
        times_B=np.zeros(rows, np.int64),
        now=0,
        cursor=(0,),
    )


def gradient(logit: float, labels: list[float], counted: list[float]) -> float:
    """In the logit that all rows share, of the sum over rows."""
    z = torch.tensor(logit, requires_grad=True)
    loss = WeightedLogLoss()(z.expand(len(labels), 1), batch(labels, counted)) * len(labels)
    return torch.autograd.grad(loss, z)[0].item()


def test_rows_that_count_have_the_weighted_log_loss() -> None:
    logits = torch.tensor([-3.0, 0.5, 40.0])
    labels, weights = [0.0, 1.0, 0.0], [1.0, 2.0, 0.5]
    expected = binary_cross_entropy_with_logits(logits, torch.tensor(labels), torch.tensor(weights))
    assert WeightedLogLoss()(logits.unsqueeze(1), batch(labels, [1.0] * 3, weights)).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


@pytest.mark.parametrize("logit", [-6.0, -0.3, 0.0, 2.5])
def test_a_silence_and_its_correction_have_the_gradient_of_the_final_label(logit: float) -> None:
    both = gradient(logit, [0.0, 1.0], [1.0, 0.0])
    assert both == pytest.approx(gradient(logit, [1.0], [1.0]), abs=1e-6)
    assert gradient(logit, [1.0], [0.0]) == -1


def test_each_row_has_the_loss_of_its_own_task_with_the_weight_of_the_task() -> None:
    logits = torch.tensor([[1.0, -4.0], [9.0, 0.5], [-2.0, 3.0]], requires_grad=True)
    rows = batch([1.0, 0.0, 1.0], [1.0] * 3, [1.0, 1.0, 2.0], tasks=[0, 1, 1])
    loss = WeightedLogLoss([1.0, 0.25])(logits, rows)
    own, weights = torch.tensor([1.0, 0.5, 3.0]), torch.tensor([1.0, 0.25, 0.5])
    expected = binary_cross_entropy_with_logits(own, torch.tensor([1.0, 0.0, 1.0]), weights)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    gradient_BT = torch.autograd.grad(loss, logits)[0]
    assert (gradient_BT != 0).tolist() == [[True, False], [False, True], [False, True]]
