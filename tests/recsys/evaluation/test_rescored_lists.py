"""Shown lists scored again: what each outcome needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys.errors import RowsUnavailableError
from recsys.evaluation.rescored_lists import SETTLED, Outcome, PublishedModel, RescoredLists, explained
from serving.cache.row_cache import RowCache
from serving.cache.row_store import EmbeddingRows, MemoryRows
from serving.model.loaded_model import LoadedModel
from serving.ranking.task_score import TaskScore
from streaming.encode.encoder import Encoder
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.serving.fakes import SumScorer, artefact, rows

SPEC = FeatureSpec.of([Field("item", "categorical", "item"), Field("price", "numeric", "item.price")])
CHANGED = 50_000
ITEMS = ["a", "b"]
TIME = CHANGED + SETTLED + 1
"""From then on rows are known to be as they were."""


def model(values: dict[str, float], name: str = "online", step: int = 1) -> LoadedModel:
    stored = MemoryRows({"item": 4, "hour": 4})
    ids, _ = Encoder(SPEC).encode_columns(list(values), {"price": [0.0] * len(values)})
    stored.write("item", ids["item"].values, rows(*values.values()))
    return LoadedModel(name, artefact(step, spec=SPEC), SumScorer(), RowCache(stored, 100), 0.0, Encoder(SPEC))


def scores(values: dict[str, float], price: float = 0.0) -> list[float]:
    """What `model(values)` gives."""
    total = np.array([4 * values[item] for item in ITEMS], np.float32) + np.float32(price)
    return [float(score) for score in SumScorer().squashed(total)]


def shown(**changes: Any) -> Impression:
    """A list that the frozen model or the live one ranked with these rows."""
    given: dict[str, Any] = {"id": "n", "time": TIME, "user": "u", "items": ITEMS}
    given |= {"item_features": {"price": [0.0, 0.0]}, "scores": scores(NOW), "model": "online@step-1"}
    return Impression(**given | changes)


NOW = {"a": 0.1, "b": -0.2}
BEFORE = {"a": 0.1, "b": 0.2}
LIVE = PublishedModel(model(NOW), CHANGED)
SILENT = PublishedModel(model(NOW), None)
COPY = PublishedModel(model(NOW, "kept"), 0)
CLICKS = TaskScore({"click": 1.0})


def outcome(
    impression: Impression, *models: PublishedModel, score: Callable[[Impression], TaskScore] = lambda _: CLICKS
) -> Outcome:
    lists = RescoredLists(models, score, lambda: TIME)
    lists.take(encode_events([impression, Interaction(impression.time, "n", "a")]))
    ((found, tally),) = lists.tallies.items()
    assert (tally.lists, tally.example) == (1, "n")
    assert len(list(explained(lists.tallies))) == 1
    return found


def test_scores_of_the_same_rows_and_graph_are_equal_by_every_bit() -> None:
    assert outcome(shown(), LIVE) == "equal"
    assert outcome(shown(model="kept@step-1"), COPY) == "equal"
    assert outcome(shown(), COPY, LIVE) == "equal"
    priced = shown(item_features={"price": [0.3, 0.3]}, scores=scores(NOW, 0.3))
    assert outcome(priced, LIVE) == "equal"
    half = shown(experiment="ab", arm="half", scores=[0.5 * one for one in scores(NOW)])
    assert outcome(half, LIVE, score=lambda shown: TaskScore({"click": {"half": 0.5}[shown.arm]})) == "equal"


def test_the_copy_of_a_version_stands_for_it() -> None:
    moved = PublishedModel(model(BEFORE), CHANGED)
    assert outcome(shown(time=CHANGED), moved, COPY) == "equal"


@pytest.mark.parametrize("published", [LIVE, COPY], ids=["live", "frozen"])
def test_another_score_without_a_reason_is_unexplained(published: PublishedModel) -> None:
    other = shown(scores=scores(BEFORE), model=f"{published.model.name}@step-1")
    assert outcome(other, published) == "unexplained"


def test_rows_may_have_changed_since() -> None:
    before = shown(scores=scores(BEFORE), time=CHANGED + SETTLED)
    assert outcome(before, LIVE) == "moved"
    assert outcome(shown(scores=scores(BEFORE)), SILENT) == "moved"
    assert outcome(shown(scores=scores(BEFORE)), COPY) == "moved"


def test_rows_that_change_while_lists_are_scored_explain_those_of_their_model() -> None:
    lists = RescoredLists([LIVE, COPY], lambda _: CLICKS, lambda: TIME)
    other = scores(BEFORE)
    lists.take(encode_events([shown(scores=other), shown(id="m", scores=other, model="kept@step-1"), shown(id="l")]))
    assert {outcome: one.lists for outcome, one in lists.tallies.items()} == {"unexplained": 2, "equal": 1}
    lists.changed("online")
    lists.changed("other")
    found = lists.tallies
    assert {outcome: (one.lists, one.example) for outcome, one in found.items()} == {
        "unexplained": (1, "m"),
        "moved": (1, "n"),
        "equal": (1, "l"),
    }
    assert found["moved"].largest == found["unexplained"].largest > 0


def test_a_copy_that_was_made_anew_since_is_a_reason() -> None:
    before = shown(scores=scores(BEFORE), model="kept@step-1", time=CHANGED)
    assert outcome(before, PublishedModel(model(NOW, "kept"), CHANGED)) == "moved"


def test_a_list_of_the_future_is_of_a_clock_that_is_ahead() -> None:
    assert outcome(shown(scores=scores(BEFORE), time=TIME + SETTLED), LIVE) == "unexplained"
    assert outcome(shown(scores=scores(BEFORE), time=TIME + SETTLED + 1), LIVE) == "clock"


def test_a_list_before_one_that_is_far_earlier_is_of_a_clock_that_is_ahead() -> None:
    lists = RescoredLists([LIVE], lambda _: CLICKS, lambda: TIME)
    wrong = {"scores": scores(BEFORE), "time": TIME}
    lists.take(encode_events([shown(**wrong), shown(id="m", scores=scores(NOW), time=TIME - SETTLED)]))
    lists.take(encode_events([shown(id="l", time=0)]), partition=1)
    assert {outcome: one.lists for outcome, one in lists.tallies.items()} == {"unexplained": 1, "equal": 2}
    lists.take(encode_events([shown(id="k", time=TIME - SETTLED - 1000), shown(id="j", **wrong)]))
    found = lists.tallies
    assert {outcome: (one.lists, one.example) for outcome, one in found.items()} == {
        "clock": (1, "n"),
        "unexplained": (1, "j"),
        "equal": (3, "m"),
    }


def test_a_version_that_is_gone_is_named() -> None:
    assert outcome(shown(model="online@step-2"), LIVE, COPY) == "version"
    assert outcome(shown()) == "version"


def test_what_no_model_has_ranked_is_left_out() -> None:
    assert outcome(shown(model="popularity", degraded=["deadline"]), LIVE) == "popularity"
    assert outcome(shown(model=""), LIVE) == "no model"
    assert outcome(shown(scores=[]), LIVE) == "no model"


def test_a_degraded_list_is_scored_again_too() -> None:
    assert outcome(shown(degraded=["features"]), LIVE) == "equal"
    assert outcome(shown(degraded=["features", "rows"], scores=scores(BEFORE)), LIVE) == "rows"


def test_features_that_are_not_logged_are_named() -> None:
    assert outcome(shown(item_features={}), LIVE) == "features"
    assert outcome(shown(item_features={"price": ["dear", 0.0]}), LIVE) == "features"


def test_last_bits_are_told_from_other_scores() -> None:
    near = [float(np.nextafter(np.float32(one), np.float32(1))) for one in scores(NOW)]
    assert outcome(shown(scores=near), LIVE) == "last bits"


def test_lists_before_the_time_are_left_out() -> None:
    lists = RescoredLists([LIVE], lambda _: CLICKS, lambda: TIME)
    lists.take(encode_events([shown(time=10), shown(id="m", time=11)]), since=11)
    assert {outcome: one.lists for outcome, one in lists.tallies.items()} == {"equal": 1}


def test_without_rows_nothing_is_said() -> None:
    class Gone(MemoryRows):
        def read(self, ids: Any) -> dict[str, EmbeddingRows]:
            raise RowsUnavailableError("gone")

    cache = RowCache(Gone({"item": 4, "hour": 4}), 100)
    gone = LoadedModel("online", artefact(spec=SPEC), SumScorer(), cache, 0.0, Encoder(SPEC))
    with pytest.raises(RowsUnavailableError, match="is it running"):
        RescoredLists([PublishedModel(gone, 0)], lambda _: CLICKS, lambda: TIME).take(encode_events([shown()]))
