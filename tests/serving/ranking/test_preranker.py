"""The stage before the model: what it keeps, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.assignment import Arm, Experiment
from serving.model.loaded_model import LoadedModel
from serving.ranking.exploration import Floats
from serving.ranking.preranker import CheapScores, Preranker, Selection
from serving.ranking.query import Query
from serving.ranking.trace import Preranking

MODEL = cast(LoadedModel, SimpleNamespace(name="online"))
NAN = float("nan")


class Given:
    """Scores as given; an error if that is one."""

    def __init__(self, scores: list[float] | Exception | None, name: str = "given") -> None:
        self._scores, self.name = scores, name

    def of(self, query: Query, model: LoadedModel) -> Floats | None:
        if isinstance(self._scores, Exception):
            raise self._scores
        return None if self._scores is None else np.array(self._scores)

    def learn(self, query: Query, model: LoadedModel, shares_C: Floats) -> None: ...


def query(candidates: int, count: int) -> Query:
    items = [f"i{number}" for number in range(candidates)]
    return Query("u", items, 1, {}, {"price": list(range(candidates))}, count, "", Arm("online"), "x")


def selected(*scores: CheapScores, keep: int = 2, count: int = 1, checked: float = 0.0) -> Selection:
    found = Preranker(keep, checked, scores).select(query(4, count), MODEL, np.random.default_rng(0))
    assert found is not None
    return found


@given(
    st.lists(st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0, 2.0, 3.0])), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_the_best_are_kept_in_their_order(scores: list[float], keep: int, count: int) -> None:
    asked = query(len(scores), count)
    found = Preranker(keep, 0.0, [Given(scores)]).select(asked, MODEL, np.random.default_rng(0))
    kept = max(keep, count)
    if len(scores) <= kept:
        assert found is None
        return
    assert found is not None
    places = [int(item[1:]) for item in found.query.items]
    assert places == sorted(places) == found.query.item_features["price"]
    assert len(places) == kept == len(scores) - found.left_out
    assert found.query.count == count
    known = [score for score in scores if score == score]
    mean = sum(known) / len(known) if known else 0.0
    worth = [score if score == score else mean for score in scores]
    left = [worth[place] for place in range(len(scores)) if place not in places]
    assert min(worth[place] for place in places) >= max(left) - 1e-12


def test_items_without_a_score_count_as_the_mean() -> None:
    assert selected(Given([3.0, NAN, 0.0, 1.0]), keep=2).query.items == ["i0", "i1"]
    assert selected(Given([NAN, 2.0, 2.5, 0.0]), keep=2).query.items == ["i1", "i2"]


def test_the_first_score_that_there_is_decides(caplog: pytest.LogCaptureFixture) -> None:
    found = selected(Given(None, "none"), Given(ValueError("torn"), "torn"), Given([0.0, 1.0, 2.0, 3.0]))
    assert found.query.items == ["i2", "i3"]
    assert "torn" in caplog.text


def test_without_a_score_all_go_to_the_model() -> None:
    found = selected(Given(None))
    assert found.query.items == query(4, 1).items
    assert found.outcome(np.zeros(4)) == Preranking()
    assert found.outcome(np.zeros(4)).result == "unscored"


def test_of_checked_requests_all_are_scored_and_the_loss_is_known() -> None:
    found = selected(Given([3.0, 2.0, 1.0, 0.0]), count=2, checked=1.0)
    assert len(found.query.items) == 4
    assert found.outcome(np.array([0.9, 0.1, 0.2, 0.8])) == Preranking(survived={"given": 0.5})  # i0 is kept, i3 is not
    assert found.outcome(np.array([0.9, 0.8, 0.2, 0.1])).survived == {"given": 1.0}
    assert found.outcome(np.zeros(4)).result == "checked"


def check(preranker: Preranker, scores: list[float], rng: np.random.Generator) -> None:
    asked = query(len(scores), 1)
    found = preranker.select(asked, MODEL, rng)
    assert found is not None
    assert found.kept
    preranker.learn(found.query, MODEL, np.array(scores), found.outcome(np.array(scores)))


def test_the_score_that_keeps_most_of_what_the_model_ranks_first_decides() -> None:
    wrong, right = Given([0.0, 1.0, 2.0], "wrong"), Given([2.0, 1.0, 0.0], "right")
    preranker, rng = Preranker(1, 1e-9, [wrong, right]), np.random.default_rng(0)
    for _ in range(20):
        check(preranker, [0.9, 0.5, 0.1], rng)
    found = preranker.select(query(3, 1), MODEL, rng)
    assert found is not None
    assert (found.by, found.query.items) == ("right", ["i0"])
    unchecked = Preranker(1, 0.0, [wrong, right]).select(query(3, 1), MODEL, rng)
    assert unchecked is not None
    assert unchecked.by == "wrong"  # nobody measures


def test_the_share_that_is_checked() -> None:
    preranker, rng = Preranker(1, 0.25, [Given([1.0, 0.0])]), np.random.default_rng(5)
    for _ in range(20):
        check(preranker, [1.0, 0.0], rng)  # the first ones all
    drawn = [preranker.select(query(2, 1), MODEL, rng) for _ in range(2000)]
    assert 0.2 < sum(bool(one.kept) for one in drawn if one is not None) / 2000 < 0.3


@pytest.mark.parametrize(("own", "kept"), [(None, 2), (3, 3), (1, 1), (0, None), (9, None)])
def test_an_arm_may_keep_another_number(own: int | None, kept: int | None) -> None:
    asked = replace(query(5, 1), arm=Arm("online", prerank=own))
    scores = Given([4.0, 3.0, 2.0, 1.0, 0.0])
    found = Preranker(2, 0.0, [scores]).select(asked, MODEL, np.random.default_rng(0))
    assert (None if found is None else len(found.query.items)) == kept


def test_another_number_is_another_split() -> None:
    same = Experiment("ab", (Arm("a"), Arm("b")))
    assert same.allocation != Experiment("ab", (Arm("a"), Arm("b", prerank=9))).allocation
