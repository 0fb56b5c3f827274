"""Scores that rules raise or lower, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from recsys.config.file import parse
from recsys.errors import ConfigError, InvalidValueError
from serving.experiments.assignment import Arm, Experiment
from serving.limits import MOST_BOOST, MOST_BOOSTS
from serving.ranking.boost import Boost
from serving.settings import ServingSettings
from streaming.events.schema import Impression
from streaming.ingest.codec import Rules
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import Start, rank, ready, shown, stored
from tests.serving.fakes import SPEC
from tests.serving.waiting import until

SCORES = {"a": 0.41, "b": 0.4, "c": 0.39, "d": 0.3}
FEATURES: dict[str, Any] = {"a": {"maker": "large"}, "b": {"maker": "large"}, "c": {"maker": ["small", "new"]}, "d": {}}
SMALL = Boost(feature="item.maker", value="small", times=1.15)
WINTER = {"feature": "item.season", "value": "winter", "plus": 2.0}


@pytest.fixture
def published(publish: Any) -> None:
    publisher = publish(SCORES)
    publisher.publish_entities({}, FEATURES)
    publisher.publish_catalog([("a", 1.0), ("b", 0.9), ("c", 0.95), ("d", 0.1)], [])


def boosted(answer: dict[str, Any]) -> dict[str, float]:
    """What items were ranked by, over their score."""
    return {item["item"]: item["boosted"] / item["score"] for item in answer["items"] if "boosted" in item}


def test_settings_and_requests_boost_items_and_answers_say_so(start: Start, published: None, log: MemoryLog) -> None:
    app = ready(start(boosts=[SMALL]))
    answer = rank(app, *SCORES)
    assert shown(answer) == ["c", "a", "b", "d"]
    assert boosted(answer) == {"c": pytest.approx(1.15)}
    both = rank(app, *SCORES, boosts=[WINTER], item_features={"season": [None, None, "winter", "winter"]})
    assert shown(both) == ["c", "d", "a", "b"]  # 1.15 x score + 2, score + 2
    score = both["items"][0]["score"]
    assert both["items"][0]["boosted"] == pytest.approx(1.15 * score + 2)
    found = app.post(
        "/v1/recommend", json={"user": "u", "boosts": [WINTER | {"feature": "item.maker", "value": "new"}]}
    )
    assert shown(found.json())[0] == "c"
    until(lambda: len(stored(log)) == 3)
    logged = stored(log)[0]
    assert isinstance(logged, Impression)
    plain = rank(app, *SCORES, item_features={"maker": [None] * 4})
    assert not boosted(plain)  # the request's values go first
    scores = {item["item"]: item["score"] for item in plain["items"]}
    assert logged.scores == [scores[item] for item in logged.items]  # what the model said


def test_draws_are_by_boosted_scores_and_their_propensities_exact(start: Start, published: None) -> None:
    app = ready(start(boosts=[SMALL], exploration="plackett_luce", seed=1))
    answer = rank(app, *SCORES)
    ranked_by = np.array([item.get("boosted", item["score"]) for item in answer["items"]])
    odds = ranked_by / (1 - ranked_by)
    left = odds[::-1].cumsum()[::-1]
    assert [item["propensity"] for item in answer["items"]] == pytest.approx((odds / left).tolist())


def test_lists_by_popularity_are_boosted(start: Start, published: None) -> None:
    app = ready(start(boosts=[SMALL], experiments=(Experiment("all", (Arm("plain", "popularity"),)),)))
    answer = until(lambda: (found := rank(app, *SCORES))["items"][0]["score"] and found)
    assert (shown(answer), answer["model"]) == (["c", "a", "b", "d"], "popularity")
    assert boosted(answer) == {"c": pytest.approx(1.15)}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"feature": "maker", "value": "x"}, "boosts[0].feature"),
        ({"feature": "item.maker\n", "value": "x"}, "boosts[0].feature"),
        ({"feature": "item.maker", "value": "x", "times": -1}, "boosts[0].times"),
        ({"feature": "item.maker", "value": "x"}, "boosts[0]"),  # neither times nor plus
        ({"feature": "item.maker"}, "boosts[0].value"),
    ],
)
def test_a_wrong_boost_is_named(start: Start, wrong: dict[str, Any], field: str) -> None:
    response = start().post("/v1/recommend", json={"user": "u", "boosts": [wrong]})
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["field"] == field
    assert ("written with `item.`" in error["message"]) == field.endswith("feature")


@pytest.mark.parametrize(("keep", "status"), [(False, 422), (True, 200)])
def test_a_feature_that_no_event_may_carry_is_refused(start: Start, published: None, keep: bool, status: int) -> None:
    app = ready(start(rules=Rules.of(SPEC, keep_unknown=keep)))
    for asked, field in (
        ({"boosts": [WINTER]}, "boosts[0].feature"),
        ({"where": {"season": "winter"}}, "where.season"),
    ):
        response = app.post("/v1/recommend", json={"user": "u", **asked})
        assert response.status_code == status
        assert keep or response.json()["error"]["field"] == field


def test_all_boosts_together_keep_scores_numbers(start: Start, published: None) -> None:
    large = Boost(feature="item.maker", value="large", times=MOST_BOOST)
    app = ready(start(boosts=[large] * MOST_BOOSTS))
    answer = rank(app, *SCORES, boosts=[large.model_dump()] * MOST_BOOSTS)
    assert boosted(answer) == {"a": pytest.approx(MOST_BOOST), "b": pytest.approx(MOST_BOOST)}
    with pytest.raises(ConfigError, match=r"line 2: serving\.boosts: .*20"):
        parse(
            "[serving]\nboosts = [" + '{ feature = "item.a", value = 1, times = 2.0 },' * 21 + "]\n",
            Path("recsys.toml"),
        )


def test_settings_without_an_effect_or_of_users_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"boosts: that of item\.maker has no effect"):
        ServingSettings(boosts=[Boost(feature="item.maker", value="small")])
    with pytest.raises(ValidationError, match="should match pattern"):
        Boost(feature="user.age", value=3, times=2.0)
