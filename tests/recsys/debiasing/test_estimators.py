"""Weights and targets are the estimators of the papers, and are unbiased where those are."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.debiasing.estimators import doubly_robust_targets, imputation_weights
from recsys.debiasing.factorization import Factorization


def cross_entropy(target: np.ndarray, logit: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.logaddexp(0, logit) - target * logit
    return found


def test_the_targets_give_the_doubly_robust_loss() -> None:
    rng = np.random.default_rng(0)
    z, m, p = rng.normal(size=50), rng.random(50), rng.uniform(0.1, 0.9, 50)
    r, o = (rng.random(50) < 0.4).astype(float), (rng.random(50) < p).astype(float)
    e, imputed = cross_entropy(r, z), cross_entropy(m, z)
    robust = imputed + o / p * (e - imputed)
    np.testing.assert_allclose(cross_entropy(doubly_robust_targets(m, r, o / p), z), robust, rtol=1e-12)


@pytest.mark.parametrize(("right_propensity", "right_imputation"), [(True, False), (False, True)])
def test_one_right_part_is_enough(right_propensity: bool, right_imputation: bool) -> None:
    """The expected target over what is observed is the label, if the propensity or the imputation is right."""
    p, r = np.array([0.2, 0.7]), np.array([1.0, 0.0])
    used = p if right_propensity else np.array([0.5, 0.5])
    m = r if right_imputation else np.array([0.4, 0.4])
    expected = p * doubly_robust_targets(m, r, 1 / used) + (1 - p) * m
    np.testing.assert_allclose(expected, r, atol=1e-12)


def test_imputations_learn_from_the_error_of_the_loss() -> None:
    z, m, r, w = np.array([2.0, -1.0]), np.array([0.3, 0.8]), np.array([1.0, 0.0]), np.array([4.0, 2.0])
    error = cross_entropy(r, z) - cross_entropy(m, z)
    np.testing.assert_allclose(imputation_weights(w, z) * (r - m) ** 2, w * error**2)
    p = 1 / w
    np.testing.assert_allclose(imputation_weights(w, z, robust=True) * (r - m) ** 2, (1 - p) / p**2 * error**2)


def test_pairs_of_weight_0_do_not_count() -> None:
    weights = np.array([[1, 0], [1, 1]], np.float32)
    models = [Factorization((2, 2), dim=2, lr=0.1, l2=0.1, seed=1) for _ in range(2)]
    for model, hidden in zip(models, (0.0, 1.0), strict=True):
        for _ in range(5):
            model.step(weights, np.array([[1, hidden], [0, 1]], np.float32))
    np.testing.assert_array_equal(models[0].logits, models[1].logits)


def test_a_model_without_biases_has_none() -> None:
    model = Factorization((3, 2), dim=1, lr=0.1, l2=0.1, seed=1, biases=False)
    for _ in range(10):
        model.step(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))
    assert np.linalg.matrix_rank(model.logits, tol=1e-4) == 1
