"""Challengers score what was shown after the answer; whatever they do, answers stay as they are."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from serving.experiments.assignment import Arm, Experiment
from serving.ranking.query import Query
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import KeyNames
from serving.shadow import Shadow
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Impression, ShadowScores
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import FailingLog, Start, figures, rank, ready, stored
from tests.serving.fakes import SPEC
from tests.serving.waiting import until

ITEMS = {"a": 0.1, "b": 0.4}
AB = Experiment("ab", (Arm("now", "online"), Arm("next", "wide")))


def count(app: httpx.Client, result: str) -> float:
    return figures(app)[f'recsys_shadow_total{{result="{result}"}}']


def seen(app: httpx.Client) -> float:
    """Lists that something came of."""
    return sum(count(app, result) for result in ("scored", "busy", "failed", "behind", "own"))


def shadowed(
    app: httpx.Client, log: MemoryLog, *items: str, **fields: Any
) -> tuple[dict[str, Any], ShadowScores] | None:
    """An answer and its scores in the log; None if Redis did not answer in time for them."""
    before = seen(app)
    answer = rank(app, *items, **fields)
    until(lambda: seen(app) > before)
    until(lambda: figures(app)["recsys_log_waiting"] == 0)
    return next(((answer, one) for one in shadows(log) if one.impression == answer["impression"]), None)


def shadows(log: MemoryLog) -> list[ShadowScores]:
    return [event for event in stored(log) if isinstance(event, ShadowScores)]


def test_a_challenger_scores_what_was_shown_as_if_it_had_ranked_it(start: Start, publish: Any, log: MemoryLog) -> None:
    """With features of its own, which the answer did not need."""
    wider = FeatureSpec.of([*SPEC.fields, Field("p", "numeric", "item.p"), Field("q", "numeric", "request.q")])
    publish(ITEMS)
    publish({"a": 0.9, "b": -0.4}, model="wide", spec=wider).publish_entities({}, {"a": {"p": 0.5}})
    fields = {"time": 5, "features": {"q": 0.25}, "item_features": {"r": [1, 2, 3]}, "count": 2}
    app = ready(start(shadow=["wide"]))
    until(lambda: "wide" in app.get("/metrics").text)
    answer, found = until(lambda: shadowed(app, log, "a", "b", "c", **fields))
    own = rank(
        ready(start(experiments=(Experiment("own", (Arm("all", "wide"),)),))), "a", "b", "c", **fields | {"count": 3}
    )
    by_item = {item["item"]: item["score"] for item in own["items"]}
    assert answer["model"] == "online@step-1"
    items = [item["item"] for item in answer["items"]]
    assert found == ShadowScores(
        5, answer["impression"], "u", "wide@step-1", [by_item[i] for i in items], f"{answer['impression']} wide@step-1"
    )
    assert count(app, "scored") == 1
    kinds = [type(event) for event in stored(log)]
    assert kinds.index(Impression) < kinds.index(ShadowScores)


def test_what_is_recommended_is_scored_too(start: Start, publish: Any, log: MemoryLog) -> None:
    publish(ITEMS).publish_catalog([("a", 3.0), ("b", 2.0)], [])
    publish(ITEMS, model="wide")
    app = ready(start(shadow=["wide"]))
    until(lambda: "wide" in app.get("/metrics").text)
    asked = set()

    def scored() -> bool:
        """A list that comes before the catalogue is empty, and a model cannot score before it is loaded."""
        asked.add(app.post("/v1/recommend", json={"user": "u"}).json()["impression"])
        return not asked.isdisjoint(one.impression for one in shadows(log))

    until(scored)


@pytest.mark.parametrize("graph", [b"broken", b"nan"])
def test_a_challenger_that_fails_harms_no_answer(start: Start, publish: Any, log: MemoryLog, graph: bytes) -> None:
    publish(ITEMS)
    publish(ITEMS, model="wide", graph=graph)
    app = ready(start(shadow=["wide"]))
    for _ in range(3):
        assert rank(app, "a", "b", "c")["degraded"] == []
    until(lambda: count(app, "failed") == 3)
    assert shadows(log) == []


def test_a_challenger_that_is_not_published_harms_no_answer_and_no_readiness(
    start: Start, publish: Any, log: MemoryLog
) -> None:
    publish(ITEMS)
    app = ready(start(shadow=["wide"]))
    assert rank(app, "a", "b")["degraded"] == []
    until(lambda: count(app, "failed") == 1)


def test_a_model_is_no_shadow_of_itself(start: Start, publish: Any, log: MemoryLog) -> None:
    publish(ITEMS)
    publish(ITEMS, model="wide")
    app = ready(start(shadow=["wide", "champion"], experiments=(AB,)))
    users = {AB.arm(f"u{n}").name: f"u{n}" for n in range(20)}
    for user, other in ((users["now"], "wide@step-1"), (users["next"], "online@step-1")):
        _, found = until(partial(shadowed, app, log, "a", "b", user=user))
        assert found.model == other
    assert {(one.user, one.model) for one in shadows(log)} == {
        (users["now"], "wide@step-1"),
        (users["next"], "online@step-1"),
    }
    assert count(app, "own") >= 2


def test_a_challenger_that_has_still_to_read_the_log_is_left_out(
    start: Start, publish: Any, log: MemoryLog, client: RedisClient
) -> None:
    publish(ITEMS)
    publish(ITEMS, model="wide").publish_status({"caught_up": False})
    app = ready(start(shadow=["wide"]))
    until(lambda: 'recsys_trainer_status_age_seconds{model="wide"}' in app.get("/metrics").text)
    rank(app, "a", "b")
    until(lambda: count(app, "behind") == 1)
    assert not client.exists(KeyNames().promotions)


class Held:
    """A ranker that is told when to go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def rank(self, query: Query, trace: object) -> Any:
        self.asked.set()
        assert self.go_on.wait(120)
        return SimpleNamespace(shown=Impression(query.impression, 0, "u", ["a"], scores=[0.5], model="wide@1"))


def shadow(ranker: Held, idle: threading.Event, written: list[object], patience: float = 120) -> Shadow:
    models, events = SimpleNamespace(get=lambda _name: None), SimpleNamespace(append=written.append)
    parts = cast(Any, models), cast(Any, ranker), cast(Any, events)
    return Shadow(["wide"], *parts, idle.is_set, lambda _name: False, time.monotonic, patience, 2)


def offer(made: Shadow, number: int) -> None:
    query = Query("u", ["a"], 0, {}, {}, 1, "", Arm("x"), f"n{number}")
    asyncio.run(made.offer(query, Impression(f"n{number}", 0, "u", ["a"], model="online@1")))


def test_lists_beyond_the_bound_are_dropped_and_counted() -> None:
    ranker, idle, written = Held(), threading.Event(), list[object]()
    idle.set()
    made = shadow(ranker, idle, written)
    offer(made, 0)
    assert ranker.asked.wait(120)
    for number in range(1, 6):
        offer(made, number)
    assert made.counts["busy"] == 3
    ranker.go_on.set()
    until(lambda: made.counts["scored"] == 3)
    made.close()
    assert [cast(ShadowScores, one).impression for one in written] == ["n0", "n1", "n2"]


def test_while_requests_wait_nothing_is_scored() -> None:
    ranker, idle, written = Held(), threading.Event(), list[object]()
    ranker.go_on.set()
    made = shadow(ranker, idle, written)
    offer(made, 0)
    assert not ranker.asked.wait(0.05)
    idle.set()
    until(lambda: written)
    made.close()


def test_what_has_waited_until_its_click_may_be_known_is_dropped_and_counted() -> None:
    ranker, idle, written = Held(), threading.Event(), list[object]()
    ranker.go_on.set()
    made = shadow(ranker, idle, written, patience=0.0)
    offer(made, 0)
    idle.set()
    until(lambda: made.counts["busy"] == 1)
    made.close()
    assert written == []


def test_what_waits_at_the_end_is_dropped_and_counted() -> None:
    made = shadow(Held(), threading.Event(), [])
    offer(made, 0)
    made.close()
    assert made.counts["busy"] == 1


def test_clients_cannot_post_scores_of_challengers(start: Start, publish: Any, log: MemoryLog) -> None:
    publish(ITEMS)
    app = ready(start())
    line = {"type": "shadow", "time": 5, "impression": "n", "user": "u", "model": "wide@1", "scores": [0.5]}
    answer = app.post("/v1/events", json=line)
    assert answer.status_code == 422
    assert "the kinds are impression, interaction, user, item" in answer.text
    assert stored(log) == []


def test_a_full_log_harms_no_answer(start: Start, publish: Any, log: FailingLog) -> None:
    publish(ITEMS)
    publish(ITEMS, model="wide")
    app = ready(start(shadow=["wide"]))
    until(lambda: "wide" in app.get("/metrics").text)
    log.refuse = True
    rank(app, "a", "b")
    until(lambda: seen(app) == 1)
    assert rank(app, "a", "b")["items"]
    log.refuse = False
