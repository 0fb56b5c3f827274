"""The difference of two AUCs and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.challenger.auc_difference import auc_difference
from recsys.evaluation.metrics import Floats, auc


def correlated(rng: np.random.Generator, users: int, rows: int) -> tuple[Floats, Floats, Floats, np.ndarray]:
    """Labels, and scores of two models that are equally good; rows of a user have their taste in common."""
    users_R = rng.integers(users, size=rows)
    taste_R, noise_R = rng.normal(size=users)[users_R], rng.normal(size=rows)
    labels_R = (rng.normal(size=rows) + taste_R > 0.7).astype(np.float64)
    lean_U = rng.normal(size=users)
    return labels_R, labels_R + noise_R + lean_U[users_R], labels_R + rng.normal(size=rows) - lean_U[users_R], users_R


def test_it_is_the_difference_of_both_with_ties() -> None:
    rng = np.random.default_rng(1)
    labels_R = (rng.random(200) < 0.3).astype(np.float64)
    one_R, other_R = np.round(rng.random(200), 1), np.round(rng.random(200) + 0.2 * labels_R, 1)
    found = auc_difference(labels_R, one_R, other_R, np.arange(200))
    assert found.value == pytest.approx(auc(labels_R, one_R) - auc(labels_R, other_R))


def test_of_independent_rows_the_interval_is_delongs() -> None:
    """By the definition: placements by comparing every pair, and their covariance in each class."""
    rng = np.random.default_rng(2)
    labels_R = (rng.random(400) < 0.4).astype(np.float64)
    scores = [rng.normal(size=400) + labels_R, rng.normal(size=400) + 0.5 * labels_R]
    above = [np.sign(s[labels_R == 1][:, None] - s[labels_R == 0]) / 2 + 0.5 for s in scores]
    of_positives, of_negatives = above[0].mean(1) - above[1].mean(1), above[0].mean(0) - above[1].mean(0)
    deviation = np.sqrt(of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives))
    found = auc_difference(labels_R, scores[0], scores[1], np.arange(400))
    assert found.low is not None
    assert (found.value - found.low) / 1.959964 == pytest.approx(deviation, rel=0.01)


def test_the_interval_holds_as_often_as_it_says_though_users_differ() -> None:
    rng, held, naive = np.random.default_rng(3), 0, 0
    for _ in range(400):
        labels_R, one_R, other_R, users_R = correlated(rng, 60, 600)
        found = auc_difference(labels_R, one_R, other_R, users_R)
        alone = auc_difference(labels_R, one_R, other_R, np.arange(600))
        assert found.low is not None
        assert found.high is not None
        assert alone.low is not None
        assert alone.high is not None
        held += found.low <= 0 <= found.high
        naive += alone.low <= 0 <= alone.high
    assert 0.91 <= held / 400 <= 0.98
    assert naive / 400 < 0.8, "rows of a user are no independent rows"


def test_of_one_label_there_is_none() -> None:
    found = auc_difference(np.ones(3), np.ones(3), np.ones(3), np.arange(3))
    assert np.isnan(found.value)
    assert found.low is None
