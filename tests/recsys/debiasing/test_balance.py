"""Balanced weights: the optimum of the stated problem, found here by a general solver on a small case."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from recsys.debiasing.anchors import adaptive_anchors, random_anchors, worst_anchors
from recsys.debiasing.balance import Balancing, balance, imbalance
from recsys.debiasing.feedback import Floats
from recsys.debiasing.kernel_functions import Kernel, MinMax, bandwidth, centres
from recsys.errors import InvalidValueError


def problem(rows: int = 400, anchors: int = 6, shift: float = 0.5) -> tuple[Floats, Floats, Floats]:
    """Kernel values of rows drawn from elsewhere than the target, and base weights."""
    rng = np.random.default_rng(1)
    drawn_NF, all_NF = rng.normal(shift, 1, (rows, 2)), rng.normal(0, 1, (5 * rows, 2))
    scaled = MinMax(np.vstack([drawn_NF, all_NF]))
    kernel = Kernel("gaussian", bandwidth(scaled(all_NF), rng))
    anchors_JF = centres(scaled(all_NF), anchors, rng)
    return kernel(scaled(drawn_NF), anchors_JF), kernel(scaled(all_NF), anchors_JF).mean(0), rng.uniform(0.5, 2, rows)


def objective(q_R: Floats, kernel_RJ: Floats, target_J: Floats, base_R: Floats, how: Balancing) -> float:
    """As the module states it."""
    q_R = q_R / q_R.sum()
    gaps_J = np.abs(q_R @ kernel_RJ - target_J) / kernel_RJ.std(0)
    hinges = np.maximum(0, gaps_J - how.tolerance).sum()
    return float(q_R @ np.log(q_R / (base_R / base_R.sum())) + how.gamma * hinges)


@pytest.mark.parametrize("how", [Balancing(0.05, 0.01), Balancing(0.3, 0.05), Balancing(5.0, 0.0)])
def test_no_other_weights_are_better(how: Balancing) -> None:
    kernel_RJ, target_J, base_R = problem(rows=30, anchors=3)
    found = balance(kernel_RJ, target_J, base_R, how)
    best = objective(found.weights_R, kernel_RJ, target_J, base_R, how)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other_R = found.weights_R * np.exp(rng.normal(0, rng.choice([1e-3, 0.1, 0.5]), len(base_R)))
        assert objective(other_R, kernel_RJ, target_J, base_R, how) >= best - 1e-6

    def of_logs(log_R: Floats) -> float:
        return objective(np.exp(log_R), kernel_RJ, target_J, base_R, how)

    searched = minimize(of_logs, np.log(base_R), method="Powell", options={"maxiter": 5}).fun
    assert best <= searched + 1e-4


def test_what_is_balanced_is_within_the_tolerance() -> None:
    kernel_RJ, target_J, base_R = problem()
    found = balance(kernel_RJ, target_J, base_R, Balancing(gamma=50.0, tolerance=0.01))
    assert np.abs(found.before_J).max() > 0.2
    assert np.abs(found.after_J).max() < 0.0101
    np.testing.assert_allclose(imbalance(kernel_RJ, target_J, found.weights_R), found.after_J, atol=1e-12)
    assert found.weights_R.mean() == pytest.approx(1)
    assert 1 < found.effective_sample_size < len(base_R)


def test_gamma_0_leaves_the_base_weights() -> None:
    kernel_RJ, target_J, base_R = problem()
    found = balance(kernel_RJ, target_J, base_R, Balancing(gamma=0.0))
    np.testing.assert_allclose(found.weights_R, base_R / base_R.mean(), rtol=1e-12)


def test_large_weights_are_cut_and_counted() -> None:
    kernel_RJ, target_J, base_R = problem()
    base_R[:3] = 500
    found = balance(kernel_RJ, target_J, base_R, Balancing(gamma=0.0, max_weight=5.0))
    assert found.clipped == 3
    assert found.weights_R[:3].tolist() == [found.weights_R.max()] * 3


@pytest.mark.parametrize("base", [0.0, -1.0, np.nan])
def test_base_weights_must_be_positive(base: float) -> None:
    with pytest.raises(InvalidValueError, match="base weights"):
        balance(np.eye(3), np.ones(3), np.array([1.0, base, 1.0]))


def test_the_worst_anchor_is_the_one_furthest_from_balance() -> None:
    rng = np.random.default_rng(2)
    kernel_RK = rng.normal(size=(2_000, 8))
    target_K = kernel_RK.mean(0)
    target_K[5] += 0.5
    assert 5 in worst_anchors(kernel_RK, target_K, np.ones(2_000), Balancing(), count=2)


def test_the_adaptive_anchor_is_the_one_that_explains_the_error() -> None:
    rng = np.random.default_rng(3)
    kernel_RK = rng.normal(size=(2_000, 8))
    error_R = 2 * kernel_RK[:, 4] + 0.1 * rng.normal(size=2_000)
    assert adaptive_anchors(kernel_RK, error_R, np.ones(2_000), count=1).tolist() == [4]


def test_random_anchors_differ() -> None:
    chosen = random_anchors(10, 4, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 4
    assert len(random_anchors(3, 9, np.random.default_rng(0))) == 3


def test_covariates_that_are_equal_cannot_be_balanced() -> None:
    with pytest.raises(InvalidValueError, match="nothing to balance"):
        bandwidth(np.ones((5, 2)), np.random.default_rng(0))
