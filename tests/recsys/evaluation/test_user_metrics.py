"""Figures of each user's judged items, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.user_metrics import judged_by_user


@pytest.mark.slow  # scikit-learn takes seconds to load
def test_as_scikit_learn() -> None:
    from sklearn.metrics import ndcg_score, roc_auc_score

    rng = np.random.default_rng(0)
    users = rng.permutation(np.repeat(np.arange(20), 9))
    labels, scores = (rng.random(180) < 0.3).astype(float), rng.random(180)
    labels[users == 3] = 0
    found = judged_by_user(users, labels, scores, k=5)
    own = [(labels[users == user], scores[users == user]) for user in range(20)]
    with_positive = [(y, s) for y, s in own if y.any()]
    ndcg = np.mean([ndcg_score([y], [s], k=5) for y, s in with_positive])
    hits = [(y[np.argsort(-s)[:5]].sum(), y.sum()) for y, s in own]
    precision, recall = np.mean([h / 5 for h, _ in hits]), np.mean([h / p for h, p in hits if p])
    assert found.auc == pytest.approx(roc_auc_score(labels, scores))
    assert found.ndcg_with_positive == pytest.approx(ndcg)
    assert found.ndcg == pytest.approx((ndcg * len(with_positive) + 20 - len(with_positive)) / 20)
    assert (found.precision, found.recall) == pytest.approx((precision, recall))
    assert found.f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_without_a_positive() -> None:
    found = judged_by_user([1, 2], [0, 0], [0.5, 0.1])
    assert found.ndcg == 1
    assert np.isnan([found.ndcg_with_positive, found.recall, found.f1]).all()
