"""Metrics of lists beside what ranx 0.3.21 and scikit-learn find, at their edges, and in a stream."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from recsys.evaluation import list_metrics
from recsys.evaluation.exposure import Exposure
from recsys.evaluation.group_auc import GroupAuc
from recsys.evaluation.list_metrics import FIGURES, ListMeans
from recsys.evaluation.metrics import calibration, grouped_auc

RANX: tuple[tuple[list[int], list[int], dict[str, float]], ...] = (
    (
        [3, 1, 4, 15, 9, 2, 6],
        [1, 9, 8],
        {"ndcg": 0.4776237035032179, "map": 0.3, "mrr": 0.5, "r_precision": 1 / 3, "recall": 2 / 3},
    ),
    (
        [5, 8, 9, 7, 3, 2, 1],
        [5, 2, 0, 11, 12, 13],
        {"ndcg": 0.4103915680233244, "map": 2 / 9, "mrr": 1.0, "r_precision": 1 / 3, "recall": 1 / 3},
    ),
    ([7, 6, 5, 4, 3, 2, 1], [1], {"ndcg": 1 / 3, "map": 1 / 7, "mrr": 1 / 7, "r_precision": 0.0, "recall": 1.0}),
    ([9, 8, 7, 6, 5, 4, 3], [1], {"ndcg": 0.0, "map": 0.0, "mrr": 0.0, "r_precision": 0.0, "recall": 0.0}),
)
"""Lists, what is relevant, and what ranx says of them. There are no more relevant items than places: with more, ranx
divides recall and precision by all of them, which no list could reach."""
RNG = np.random.default_rng(0)


def _hits(listed: list[int], relevant: list[int]) -> tuple[Any, Any]:
    return np.isin(listed, relevant)[None], np.array([len(relevant)])


@pytest.mark.parametrize(("listed", "relevant", "expected"), RANX)
def test_figures_equal_ranx(listed: list[int], relevant: list[int], expected: dict[str, float]) -> None:
    found = {name: float(FIGURES[name](*_hits(listed, relevant))[0]) for name in expected}
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow  # scikit-learn takes seconds to load
def test_figures_equal_scikit_learn() -> None:
    from sklearn import metrics as peer

    relevant_LI, scores_LI = RNG.random((20, 30)) < 0.3, RNG.random((20, 30))
    relevant_LI[:, 0] = True
    best_LI = np.argsort(-scores_LI, axis=1)
    hits_LI = np.take_along_axis(relevant_LI, best_LI, 1)
    gains_L = list_metrics.ndcg(hits_LI[:, :10], relevant_LI.sum(1))
    assert gains_L.mean() == pytest.approx(peer.ndcg_score(relevant_LI, scores_LI, k=10), abs=1e-12)
    whole = [peer.average_precision_score(own, scores) for own, scores in zip(relevant_LI, scores_LI, strict=True)]
    np.testing.assert_allclose(list_metrics.average_precision(hits_LI, relevant_LI.sum(1)), whole, atol=1e-12)
    one_LI = np.arange(30) == RNG.integers(0, 30, 20)[:, None]  # of a single item, the precision is 1 / its place
    ranks_L = list_metrics.reciprocal_rank(np.take_along_axis(one_LI, best_LI, 1), np.ones(20, np.int64))
    assert ranks_L.mean() == pytest.approx(peer.label_ranking_average_precision_score(one_LI, scores_LI), abs=1e-12)


@pytest.mark.slow
def test_auc_within_groups_equals_scikit_learn_in_a_stream() -> None:
    from sklearn.metrics import roc_auc_score

    groups_R, labels_R, scores_R = RNG.integers(0, 9, 300), RNG.random(300) < 0.4, RNG.random(300).round(1)
    within = GroupAuc()
    for half in (groups_R < 4, groups_R >= 4):
        within.add(groups_R[half], labels_R[half], scores_R[half])
    each = [roc_auc_score(labels_R[groups_R == g], scores_R[groups_R == g]) for g in range(9)]
    assert within.by_groups == pytest.approx(np.mean(each), abs=1e-12)
    assert within.by_rows == pytest.approx(np.average(each, weights=np.bincount(groups_R)), abs=1e-12)
    assert within.by_rows == pytest.approx(grouped_auc(groups_R, labels_R, scores_R), abs=1e-12)


def test_groups_of_one_class_are_counted_and_left_out() -> None:
    within = GroupAuc()
    assert math.isnan(within.by_rows)
    within.add([1, 1, 2, 2], [1, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    assert (within.groups, within.undefined, within.by_groups) == (1, 1, 1.0)


@pytest.mark.parametrize(
    ("first", "pages"), [(0, 0), (9, 0), (10, 1), (499, 49), (None, 51)], ids=["1", "10", "11", "500", "none"]
)
def test_clicks_are_those_of_the_challenge(first: int | None, pages: int) -> None:
    """floor((rank of the first hit - 1) / 10), and 51 without one among 500 (Chen et al., RecSys 2018)."""
    hits_LK = np.zeros((1, 500), np.bool_)
    if first is not None:
        hits_LK[0, first] = True
    assert list_metrics.clicks(hits_LK, np.array([1])).tolist() == [pages]


def test_a_stream_has_the_means_of_all_its_lists_and_leaves_out_those_without_relevant_items() -> None:
    relevant_L = RNG.integers(0, 6, 40)
    hits_LK = np.zeros((40, 12), np.bool_)
    for hits_K, relevant in zip(hits_LK, relevant_L, strict=True):
        hits_K[RNG.choice(12, RNG.integers(0, relevant + 1), replace=False)] = True
    parts = ListMeans(12), ListMeans(12)
    for part, lists in zip(parts, np.array_split(np.arange(40), 2), strict=True):
        for one in lists:
            part.add(hits_LK[[one]], relevant_L[[one]])
    parts[0].merge(parts[1])
    some_L = relevant_L > 0
    whole = {name: figure(hits_LK[some_L], relevant_L[some_L]).mean() for name, figure in FIGURES.items()}
    assert parts[0].lists == some_L.sum() < 40
    assert parts[0].figures() == pytest.approx(whole)
    assert all(math.isnan(value) for value in ListMeans(3).figures().values())


def test_lists_that_cannot_be_are_refused() -> None:
    means = ListMeans(2)
    with pytest.raises(ValueError, match="each list of 2"):
        means.add(np.ones((1, 3), np.bool_), np.array([3]))
    with pytest.raises(ValueError, match="more hits"):
        means.add(np.ones((1, 2), np.bool_), np.array([1]))
    with pytest.raises(ValueError, match="have 3 places"):
        means.merge(ListMeans(3))


def test_exposure_of_a_stream_is_that_of_its_definitions() -> None:
    lists_LK, users_I = RNG.integers(0, 30, (50, 8)), RNG.integers(0, 100, 40)
    exposure = Exposure(40)
    for part in np.array_split(lists_LK, 7):
        exposure.add(part)
    shown = lists_LK.ravel().tolist()
    assert exposure.coverage() == len(set(shown)) / 40
    counts = [shown.count(item) for item in range(40)]
    differences = sum(abs(one - other) for one in counts for other in counts)
    assert exposure.gini() == pytest.approx(differences / (2 * 40 * sum(counts)))
    surprise = [-math.log2(max(int(users_I[item]), 1) / 100) for item in shown]
    assert exposure.novelty(users_I, 100) == pytest.approx(np.mean(surprise))


def test_exposure_at_its_edges() -> None:
    nothing, one = Exposure(5), Exposure(5)
    assert all(math.isnan(f) for f in (nothing.coverage(), nothing.gini(), nothing.novelty(np.ones(5, np.int64), 9)))
    one.add(np.full((3, 2), 4))
    assert one.coverage() == 0.2
    assert one.gini() == pytest.approx(0.8)
    for outside in (5, -1):
        with pytest.raises(ValueError, match="0 to 4"):
            one.add(np.array([[outside]]))


def test_calibration_is_predicted_over_observed() -> None:
    labels_R, scores_R = RNG.random(50) < 0.3, RNG.random(50)
    assert calibration(labels_R, scores_R) == pytest.approx(scores_R.sum() / labels_R.sum())
