"""What a propensity may be made of, and what becomes of one that no weight can be made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.debiasing.feedback import ExplorationSlice, SelfSelected, TestFeedback
from recsys.debiasing.propensities import PropensityRule, logistic, naive_bayes
from recsys.errors import InvalidValueError


def pairs(kind: Any, labels: list[float], first: int = 0) -> Any:
    rows = np.arange(len(labels)) + first
    return kind(rows // 4, rows % 4, np.array(labels))


def test_naive_bayes_divides_the_rate_of_a_label_among_observed_pairs_by_its_rate_overall() -> None:
    seen = pairs(SelfSelected, [1, 1, 1, 1, 1, 1, 1, 0])
    explored = pairs(ExplorationSlice, [1, 0, 0, 0, 0, 0], first=12)
    found = naive_bayes(seen, explored, pairs=80)
    assert found[0] == pytest.approx((8 / 10) * 0.1 / (2 / 8))
    assert found[-1] == pytest.approx((2 / 10) * 0.1 / (6 / 8))


@pytest.mark.parametrize("wrong", [pairs(TestFeedback, [1, 0]), pairs(SelfSelected, [1, 0]), np.array([1.0, 0.0])])
def test_labels_that_judge_reach_no_propensity(wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match="must not shape its propensities"):
        naive_bayes(pairs(SelfSelected, [1, 0]), wrong, pairs=80)
    with pytest.raises(InvalidValueError, match="must not shape its propensities"):
        naive_bayes(wrong if isinstance(wrong, TestFeedback) else None, pairs(ExplorationSlice, [1]), pairs=80)  # type: ignore[arg-type]


def test_a_wrapper_does_not_make_test_feedback_a_slice() -> None:
    class Disguised(ExplorationSlice):
        pass

    with pytest.raises(InvalidValueError, match="Disguised"):
        naive_bayes(pairs(SelfSelected, [1, 0]), pairs(Disguised, [1, 0]), pairs=80)


def test_labels_of_test_feedback_cannot_be_read() -> None:
    test = pairs(TestFeedback, [1, 0, 1])
    assert not [name for name in dir(test) if "label" in name.lower()]
    with pytest.raises(AttributeError):
        _ = test.labels_R


def test_what_is_explored_is_not_judged_by() -> None:
    test = pairs(TestFeedback, [1.0, 0.0] * 10)
    explored, rest = test.explored(0.25, seed=3)
    given = set(zip(explored.users_R.tolist(), explored.items_R.tolist(), strict=True))
    kept = set(zip(*(array.tolist() for array in rest.pairs), strict=True))
    assert len(given) == 5
    assert len(kept) == 15
    assert not given & kept


@pytest.mark.slow  # scikit-learn takes seconds to load
def test_the_logistic_model_is_that_of_scikit_learn_and_reads_no_label() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x_UF, shape = rng.normal(size=(12, 2)), (12, 9)
    observed = rng.random(shape) < 1 / (1 + np.exp(-x_UF[:, :1]))
    users, items = np.nonzero(observed)

    def covariates(u: Any, i: Any) -> Any:
        return np.column_stack([x_UF[u], i.astype(float)])

    one = logistic(SelfSelected(users, items, np.ones(len(users))), covariates, shape, l2=1.0)
    other = logistic(SelfSelected(users, items, np.zeros(len(users))), covariates, shape, l2=1.0)
    x_NF = covariates(*(grid.ravel() for grid in np.indices(shape)))
    x_NF = (x_NF - x_NF.mean(0)) / x_NF.std(0)
    peer = LogisticRegression(C=1.0, tol=1e-10).fit(x_NF, observed.ravel()).predict_proba(x_NF)[:, 1]
    np.testing.assert_allclose(one, peer.reshape(shape)[users, items], rtol=1e-3)
    np.testing.assert_array_equal(one, other)


def test_unusable_propensities_are_refused_with_their_numbers() -> None:
    with pytest.raises(InvalidValueError, match=r"1 missing, 2 zero, 1 above one of 5, the first in row 1 \(nan\)"):
        PropensityRule().apply([0.5, np.nan, 0.0, -1.0, 1.5])


def test_or_replaced_by_the_rule_and_counted() -> None:
    usable = PropensityRule(least=0.1, refuse=False).apply([0.5, np.nan, 0.0, 0.01, 1.5])
    assert usable.values_R.tolist() == [0.5, 1.0, 0.1, 0.1, 1.0]
    assert usable.counts == {"missing": 1, "zero": 1, "above one": 1, "clipped": 1}
    assert usable.weights().mean() == pytest.approx(1)


@pytest.mark.parametrize("labels", [[0.5], []])
def test_feedback_that_is_none(labels: list[float]) -> None:
    with pytest.raises(InvalidValueError):
        pairs(SelfSelected, labels)


def test_a_pair_counts_once() -> None:
    with pytest.raises(InvalidValueError, match="twice"):
        SelfSelected(np.array([1, 1]), np.array([2, 2]), np.array([0.0, 1.0]))
