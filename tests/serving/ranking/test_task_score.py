"""One score from the probabilities of several tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from serving.ranking.task_score import TaskScore

probabilities = st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 2), min_size=1, max_size=20)
weights = st.floats(-10, 10).filter(lambda weight: abs(weight) > 1e-3)


def test_one_task_of_weight_one_gives_its_probabilities_bit_for_bit() -> None:
    some_CT = np.random.default_rng(0).random((50, 1), np.float32)
    scores_C = TaskScore({"click": 1.0}).of(some_CT, ["click"])
    assert scores_C.tolist() == some_CT[:, 0].tolist()
    assert TaskScore({"click": 1.0}).share(scores_C, ["click"]).tolist() == some_CT[:, 0].tolist()


def test_a_task_without_weight_or_that_the_model_lacks_counts_nothing() -> None:
    score = TaskScore({"click": 0.0, "buy": 2.0, "share": 7.0})
    assert score.of([[0.9, 0.25]], ["click", "buy"]).tolist() == [0.5]
    assert score.tasks == {"buy", "share"}


@pytest.mark.slow
@given(probabilities, weights, weights)
def test_shares_are_in_the_order_of_the_scores_and_between_0_and_1(
    rows: list[tuple[float, float]], click: float, buy: float
) -> None:
    score, tasks = TaskScore({"click": click, "buy": buy}), ["click", "buy"]
    scores_C = score.of(rows, tasks)
    shares_C = score.share(scores_C, tasks)
    assert ((shares_C >= -1e-9) & (shares_C <= 1 + 1e-9)).all()
    assert (np.diff(shares_C[np.argsort(scores_C)]) >= 0).all()


@pytest.mark.parametrize("wrong", [{}, {"click": 0.0}, {"click": float("nan")}, {"click": 1.0, "buy": float("inf")}])
def test_weights_that_rank_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError, match="its weights must be finite, and at least one not 0"):
        TaskScore(wrong)
