"""Metrics against scikit-learn, against pairs counted one by one, and at their undefined points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.evaluation import metrics

RNG = np.random.default_rng(0)
LABELS = (RNG.random(500) < 0.3).astype(np.float32)
SCORES = np.round(np.clip(0.3 * LABELS + RNG.random(500) * 0.7, 0, 1), 2).astype(np.float32)  # many ties
WEIGHTS = RNG.integers(0, 4, 500).astype(np.float32)


@pytest.mark.slow  # scikit-learn takes seconds to load
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_equals_scikit_learn(weights: np.ndarray | None) -> None:
    from sklearn import metrics as peer

    assert metrics.auc(LABELS, SCORES, weights) == pytest.approx(
        peer.roc_auc_score(LABELS, SCORES, sample_weight=weights), abs=1e-12
    )
    clipped = np.clip(SCORES.astype(np.float64), metrics.CLIP, 1 - metrics.CLIP)
    assert metrics.log_loss(LABELS, SCORES, weights) == pytest.approx(
        peer.log_loss(LABELS, clipped, sample_weight=weights), abs=1e-12
    )


@pytest.mark.slow
@given(
    arrays.arrays(np.int8, st.integers(1, 12), elements=st.integers(0, 1)),
    st.data(),
)
def test_auc_counts_every_pair(labels: np.ndarray, data: st.DataObject) -> None:
    scores = data.draw(arrays.arrays(np.float32, len(labels), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])))
    weights = data.draw(arrays.arrays(np.int8, len(labels), elements=st.integers(0, 3)))
    won = total = 0.0
    for i, j in ((i, j) for i in range(len(labels)) for j in range(len(labels)) if labels[i] and not labels[j]):
        pair = float(weights[i]) * float(weights[j])
        total += pair
        won += pair * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    result = metrics.auc(labels, scores, weights)
    assert math.isnan(result) if total == 0 else result == pytest.approx(won / total, abs=1e-12)


def test_a_weight_of_two_is_the_row_twice() -> None:
    twice = np.repeat(np.arange(500), WEIGHTS.astype(int))
    weighted, repeated = (
        metrics.summarise(LABELS, SCORES, WEIGHTS),
        metrics.summarise(LABELS[twice], SCORES[twice]),
    )
    for figure in ("weight", "positives", "auc", "log_loss", "calibration", "normalised_entropy"):
        assert getattr(weighted, figure) == pytest.approx(getattr(repeated, figure), rel=1e-9)


def test_normalised_entropy_by_hand() -> None:
    # Labels 1, 0, 0, 0 at 0.4, 0.2, 0.2, 0.2; the base rate 0.25 has entropy 0.562335.
    loss = (-math.log(0.4) - 3 * math.log(0.8)) / 4
    assert metrics.normalised_entropy([1, 0, 0, 0], [0.4, 0.2, 0.2, 0.2]) == pytest.approx(loss / 0.5623351446)


def test_certain_mistakes_cost_a_finite_loss() -> None:
    assert metrics.log_loss([1.0, 0.0], [0.0, 1.0]) == pytest.approx(-math.log(metrics.CLIP), rel=1e-6)


def test_undefined_figures_are_nan_and_null() -> None:
    negatives = metrics.summarise([0, 0], [0.1, 0.2])
    assert math.isnan(negatives.auc)
    assert math.isnan(negatives.calibration)
    assert math.isnan(negatives.normalised_entropy)
    assert negatives.log_loss == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2)
    positives = metrics.summarise([1, 1], [0.5, 0.25])
    assert math.isnan(positives.auc)
    assert positives.calibration == 0.375
    nothing = metrics.summarise([], [])
    assert nothing.to_json() == {
        "rows": 0,
        "weight": 0.0,
        "positives": 0.0,
        "auc": None,
        "log_loss": None,
        "calibration": None,
        "normalised_entropy": None,
    }


def test_reliability_keeps_all_weight_and_the_last_edge() -> None:
    bins = metrics.reliability(LABELS, np.append(SCORES[1:], np.float32(1.0)), WEIGHTS, bins=7)
    assert sum(b.weight for b in bins) == WEIGHTS.sum()
    assert all(b.low <= b.predicted <= b.high for b in bins)
    assert bins[-1].high == 1.0


def test_groups_are_summarised_alone() -> None:
    groups = np.where(np.arange(500) % 3 == 0, "new", "known")
    result = metrics.by_group(groups, LABELS, SCORES, WEIGHTS)
    assert list(result) == ["known", "new"]
    for name, summary in result.items():
        rows = groups == name
        assert summary == metrics.summarise(LABELS[rows], SCORES[rows], WEIGHTS[rows])


def test_grouped_auc_leaves_out_groups_of_one_class() -> None:
    groups, labels, scores = [1, 1, 2, 2, 3], [1, 0, 1, 1, 0], [0.2, 0.1, 0.9, 0.8, 0.7]
    assert metrics.grouped_auc(groups, labels, scores) == 1.0
    assert math.isnan(metrics.grouped_auc([1, 2], [1, 0], [0.5, 0.5]))


def test_grouped_auc_by_rows_and_by_groups() -> None:
    groups, labels = ["a", "a", "b", "b", "b", "b"], [1, 0, 1, 0, 0, 0]
    scores = [0.9, 0.1, 0.1, 0.4, 0.3, 0.2]
    assert metrics.grouped_auc(groups, labels, scores) == pytest.approx(2 / 6)
    assert metrics.grouped_auc(groups, labels, scores, row_weighted=False) == 0.5


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([0, 2], [0.1, 0.2], None, "labels"),
        ([0, 1], [0.1, math.nan], None, "finite"),
        ([0, 1], [0.1, 0.2], [1, -1], "not negative"),
        ([0, 1], [0.1], None, "per row"),
        ([[0], [1]], [[0.1], [0.2]], None, "per row"),
    ],
)
def test_bad_rows_are_refused(labels: object, scores: object, weights: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.summarise(labels, scores, weights)  # type: ignore[arg-type]
