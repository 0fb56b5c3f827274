"""The losses of the schemes that `benchmarks labels` compares."""

from __future__ import annotations

import pytest
import torch

from benchmarks._label_schemes import ImportanceWeighted
from tests.recsys.training.test_loss import batch


@pytest.mark.parametrize("rate", [0.05, 0.35, 0.8])
@pytest.mark.parametrize("late", [0.0, 0.5, 1.0])
def test_importance_weights_are_in_balance_at_the_true_rate_and_nowhere_else(rate: float, late: float) -> None:
    """Of 1,000 items shown, some are clicked before their silence is learned, some after, and most never."""
    clicked, missed = rate * 1000, 1000 - (1 - late) * rate * 1000

    def gradient(p: float) -> float:
        z = torch.logit(torch.tensor([p, p], dtype=torch.float64)).unsqueeze(1).requires_grad_()
        both = [ImportanceWeighted(late)(z[n : n + 1], batch([label], [1.0])) for n, label in enumerate((1.0, 0.0))]
        (gradient_BT,) = torch.autograd.grad(clicked * both[0] + missed * both[1], z)
        return float(gradient_BT.sum())

    assert gradient(rate) == pytest.approx(0, abs=1e-3)
    assert gradient(rate * 0.9) < -1
    assert gradient(rate * 1.1) > 1
