"""Shown items judged once, also those whose click comes after their silence was learned."""

from __future__ import annotations

import numpy as np

from recsys.evaluation.judged_items import Judged
from recsys.evaluation.metrics import summarise

RNG = np.random.default_rng(2)
KEYS = np.arange(1000)
SCORES = RNG.random(1000).astype(np.float32)
LABELS = (RNG.random(1000) < SCORES).astype(np.float32)
ONES = np.ones(1000, np.float32)


def test_figures_are_those_of_the_final_labels_and_the_first_scores() -> None:
    judged = Judged(bins=1 << 20)
    early = RNG.random(1000) < 0.3  # learned as silent first
    known = np.where(early, 0, LABELS).astype(np.float32)
    for at in range(0, 1000, 100):
        rows = slice(at, at + 100)
        judged.add(KEYS[rows], known[rows], SCORES[rows], ONES[rows])
    corrected = KEYS[early & (LABELS == 1)]
    assert len(corrected) > 50
    assert judged.turn_positive(corrected, np.ones(len(corrected))).all()
    result, exact = judged.figures.summary(), summarise(LABELS, SCORES, ONES)
    assert (result.rows, result.positives) == (exact.rows, exact.positives)
    for figure in ("auc", "log_loss", "calibration", "normalised_entropy"):
        np.testing.assert_allclose(getattr(result, figure), getattr(exact, figure), rtol=1e-4)


def test_an_item_turns_positive_once() -> None:
    judged = Judged()
    judged.add(KEYS[:2], np.zeros(2), SCORES[:2], ONES[:2])
    assert judged.turn_positive(np.array([0]), np.ones(1)).tolist() == [True]
    assert judged.turn_positive(np.array([0]), np.ones(1)).tolist() == [False]
    assert judged.figures.summary().positives == 1


def test_the_oldest_scores_are_forgotten() -> None:
    judged = Judged(capacity=10)
    judged.add(KEYS[:25], np.zeros(25), SCORES[:25], ONES[:25])
    assert judged.turn_positive(KEYS[:25], ONES[:25]).tolist() == [False] * 15 + [True] * 10
    assert judged.figures.rows == 25


def test_a_restored_state_goes_on_alike() -> None:
    first, second = Judged(), Judged()
    first.add(KEYS[:9], np.zeros(9), SCORES[:9], ONES[:9])
    second.restore(first.state())
    for judged in (first, second):
        judged.turn_positive(KEYS[:3], ONES[:3])
    assert first.figures.summary() == second.figures.summary()
    assert first.state()["silent_keys"].tolist() == second.state()["silent_keys"].tolist() == [3, 4, 5, 6, 7, 8]
