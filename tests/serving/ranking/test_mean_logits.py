"""The mean of what a model said of each item."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.assignment import Arm
from serving.model.loaded_model import LoadedModel
from serving.ranking.mean_logits import MeanLogits
from serving.ranking.query import Query

MODEL = cast(LoadedModel, SimpleNamespace(name="online"))
OTHER = cast(LoadedModel, SimpleNamespace(name="other"))


def query(items: str, arm: Arm | None = None) -> Query:
    return Query("u", list(items), 1, {}, {}, len(items), "", arm or Arm("online"), "x")


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 0.99), min_size=1), max_size=20))
def test_it_is_the_mean_of_the_log_odds(requests: list[dict[str, float]]) -> None:
    means, seen = MeanLogits(), dict[str, list[float]]()
    for scores in requests:
        means.learn(query("".join(scores)), MODEL, np.array(list(scores.values())))
        for item, score in scores.items():
            seen.setdefault(item, []).append(np.log(score / (1 - score)))
    if seen:
        found = means.of(query("".join(seen)), MODEL)
        assert found is not None
        np.testing.assert_allclose(found, [np.mean(values) for values in seen.values()], atol=1e-9)


def test_it_follows_a_model_that_changes() -> None:
    means = MeanLogits()
    for score in [0.5] * 300 + [0.9] * 300:
        means.learn(query("a"), MODEL, np.array([score]))
    found = means.of(query("a"), MODEL)
    assert found is not None
    assert found[0] == pytest.approx(np.log(9), rel=0.06)  # (1 - 1/100)^300 is 0.05


def test_while_most_candidates_are_unknown_there_is_none() -> None:
    means = MeanLogits()
    assert means.of(query("ab"), MODEL) is None
    means.learn(query("ab"), MODEL, np.array([0.5, 0.6]))
    assert means.of(query("abcde"), MODEL) is None
    found = means.of(query("abcd"), MODEL)
    assert found is not None
    assert np.isnan(found).tolist() == [False, False, True, True]


def test_models_and_weights_of_tasks_have_means_of_their_own() -> None:
    means = MeanLogits()
    means.learn(query("ab"), MODEL, np.array([0.5, 0.6]))
    assert means.of(query("ab"), OTHER) is None
    assert means.of(query("ab", Arm("buys", score={"buy": 1.0})), MODEL) is None


def test_the_number_of_items_is_bounded() -> None:
    means = MeanLogits(capacity=3)
    means.learn(query("abc"), MODEL, np.full(3, 0.5))
    means.learn(query("de"), MODEL, np.full(2, 0.5))
    assert means.of(query("abc"), MODEL) is None
    assert means.of(query("de"), MODEL) is not None


def test_many_items() -> None:
    means, items = MeanLogits(), [f"i{number}" for number in range(5000)]
    asked = Query("u", items, 1, {}, {}, 1, "", Arm("online"), "x")
    shares = np.linspace(0.1, 0.9, 5000)
    means.learn(asked, MODEL, shares)
    found = means.of(asked, MODEL)
    assert found is not None
    np.testing.assert_allclose(found, np.log(shares / (1 - shares)))
