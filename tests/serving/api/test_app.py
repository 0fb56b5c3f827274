"""The application over a real Redis and an in-memory log."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import httpx
import jsonschema
import msgspec
import numpy as np
import pytest

from serving.api.app import create_app
from serving.api.batch_route import BatchRoute
from serving.api.erasure_route import ErasureRoute
from serving.api.gate.access import Access
from serving.api.gate.open_connections import ConnectionLimits, OpenConnections
from serving.api.messages.openapi import OPERATIONS
from serving.api.monitoring.prometheus import Metrics
from serving.api.routes import Routes
from serving.assembly import build
from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.judged_experiments import JudgedExperiments, publish_judged
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.goals import Goal
from serving.experiments.guardrails import Guardrail
from serving.experiments.log_summary import log_summary
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from serving.replication.publish.publisher import Publisher
from streaming.encode.entity_state import Changes
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Impression, Interaction
from streaming.ingest.codec import Rules
from streaming.item_sets import ItemSets
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import FailingLog, HeldScorer, Start, figures, rank, ready, shown, stored
from tests.serving.fakes import FEW_EVENTS, SPEC, Graphs
from tests.serving.running import running
from tests.serving.waiting import until

NOW = 1_700_000_000_000
AB = Experiment("ab", (Arm("control", "popularity"), Arm("treatment", "popularity")))
BACK = Goal("back", "return", 86_400_000)


class TestRank:
    @pytest.mark.slow
    def test_items_come_in_the_order_of_the_model(self, start: Start, publish: Any) -> None:
        publish({"a": 0.1, "b": 0.4, "c": -0.2})
        answer = rank(ready(start()), "a", "b", "c", "unknown")
        assert shown(answer) == ["b", "a", "unknown", "c"]
        assert [item["score"] for item in answer["items"]] == pytest.approx([0.832, 0.599, 0.5, 0.310], abs=1e-3)
        assert answer["degraded"] == []
        assert (answer["experiment"], answer["arm"], answer["model"]) == ("default", "online", "online@step-1")
        assert "scores" not in answer["items"][0]  # one task needs no names

    def test_a_graph_of_other_tasks_than_its_artefact_is_not_served(self, start: Start, publish: Any) -> None:
        publish({"a": 0.1})
        app = ready(start())
        publish({"a": 0.1}, step=2, tasks=("click", "buy"))
        until(lambda: app.get("/metrics").text.count("recsys_models_refused 1"))
        assert rank(app, "a")["model"] == "online@step-1"

    def test_what_is_shown_is_logged_with_features_as_used(
        self, start: Start, publish: Any, log: MemoryLog, client: RedisClient
    ) -> None:
        spec = FeatureSpec.of([*SPEC.fields, Field("age", "numeric", "request.age"), Field("p", "numeric", "item.p")])
        publisher = publish({"a": 0.1, "b": 0.4}, spec=spec)
        publisher.publish_entities({"u": {"age": 0.25, "unread": 1}}, {"a": {"p": 0.5}, "b": {"p": 0.125}})
        fields = {"time": NOW, "features": {"given": "x"}, "item_features": {"p": [None, 0.75, 0]}}
        answer = rank(ready(start()), "a", "b", "c", count=2, **fields)
        (event,) = until(lambda: stored(log))
        assert isinstance(event, Impression)
        assert event.latency is not None
        assert event.latency > 0
        assert msgspec.structs.replace(event, latency=None) == Impression(
            id=answer["impression"],
            time=NOW,
            user="u",
            items=["b", "a"],
            features={"age": 0.25, "given": "x"},
            item_features={"p": [0.75, None]},
            scores=[item["score"] for item in answer["items"]],
            propensities=[1.0, 1.0],
            experiment="default",
            arm="online",
            model="online@step-1",
        )
        assert answer["items"][0]["score"] == pytest.approx(1 / (1 + 2.718281828 ** -(1.6 + 0.25 + 0.75)), abs=1e-5)

    @pytest.mark.parametrize("path", ["rank", "recommend"])
    def test_an_answer_that_the_client_did_not_wait_for_is_no_impression(
        self, settings: Settings, publish: Any, log: MemoryLog, path: str
    ) -> None:
        publish({"a": 0.1, "b": 0.4}).publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [])
        scorer = HeldScorer()
        body = json.dumps({"user": "gone", "items": ["a", "b", "c"]} if path == "rank" else {"user": "gone"})
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        with running(build(settings, log, lambda _graph: scorer)) as app:
            ready(app)
            with socket.create_connection((app.base_url.host, app.base_url.port or 0)) as client:
                client.sendall((head + body).encode())
                assert scorer.asked.wait(120)
            for _ in range(2):  # once answered, the server has also read the end of the connection
                assert app.get("/healthz").status_code == 200
            scorer.go_on.set()
            rank(app, "a", "b")
            events = until(lambda: stored(log))
        assert [event.user for event in events if isinstance(event, Impression)] == ["u"]

    def test_a_new_delta_changes_the_scores(self, start: Start, publish: Any) -> None:
        publish({"a": 0.1, "b": 0.4})
        app = ready(start())
        assert shown(rank(app, "a", "b")) == ["b", "a"]
        publish({"a": 0.9})
        until(lambda: shown(rank(app, "a", "b")) == ["a", "b"])

    @pytest.mark.slow
    def test_exploration_is_logged_with_its_propensities(self, start: Start, publish: Any, log: MemoryLog) -> None:
        publish({"a": 0.1, "b": 0.4})
        app = ready(start(exploration="plackett_luce", temperature=5.0, seed=1))
        orders = {tuple(shown(rank(app, "a", "b", "c"))) for _ in range(40)}
        assert len(orders) > 2
        events = until(lambda: len(found := stored(log)) == 40 and found)
        assert isinstance(events, list)
        for event in events:
            assert isinstance(event, Impression)
            assert 0 < event.propensities[0] < 1
            assert event.propensities[-1] == 1.0

    def test_arms_rank_with_their_models(self, start: Start, publish: Any, log: MemoryLog) -> None:
        arms = (Arm("old", "frozen"), Arm("new", "online"), Arm("plain", "popularity"))
        publisher = publish({"a": 0.1, "b": 0.4})
        publisher.freeze("frozen")
        publish({"a": 0.9}, step=2)
        publisher.publish_catalog([("c", 5.0), ("a", 1.0)], [])
        app = ready(start(experiments=(Experiment("three", arms),)))
        expected = {"old": ["b", "a", "c"], "new": ["a", "b", "c"], "plain": ["c", "a", "b"]}
        seen = {}
        for i in range(30):
            answer = rank(app, "a", "b", "c", user=f"u{i}")
            seen[answer["arm"]] = answer["model"]
            assert shown(answer) == expected[answer["arm"]]
            assert answer["degraded"] == []
        assert seen == {"old": "frozen@step-1", "new": "online@step-2", "plain": "popularity"}

    def test_an_experiment_may_be_named(self, start: Start) -> None:
        experiments = (Experiment("one", (Arm("x", "popularity"),)), Experiment("two", (Arm("y", "popularity"),)))
        app = start(experiments=experiments)
        assert rank(app, "a")["experiment"] == "one"
        assert rank(app, "a", experiment="two")["arm"] == "y"

    def test_outside_the_time_of_an_experiment_its_control_ranks_and_nothing_counts(
        self, start: Start, log: MemoryLog
    ) -> None:
        arms = (Arm("x", "popularity"), Arm("y"))
        app = start(experiments=(Experiment("one", arms, start=NOW - 20, end=NOW - 10),))
        found = {
            (answer["experiment"], answer["arm"])
            for user in ("u", "v", "w", "x", "y", "z")
            for answer in [rank(app, "a", user=user, time=NOW)]
        }
        assert found == {("", "")}
        until(lambda: len(stored(log)) == 6)
        shows = [event for event in stored(log) if isinstance(event, Impression)]
        assert {(event.experiment, event.arm, event.model) for event in shows} == {("", "", "popularity")}


class TestDegraded:
    def test_no_model_yet(self, start: Start, client: RedisClient) -> None:
        Publisher(client, "online").publish_catalog([("c", 5.0), ("b", 2.0)], [])
        app = start()
        until(lambda: shown(rank(app, "a", "b", "c")) == ["c", "b", "a"])
        answer = rank(app, "a", "b", "c")
        assert answer["degraded"] == ["no_model"]
        assert answer["model"] == "popularity"
        assert app.get("/readyz").status_code == 503
        assert app.get("/readyz").json() == {
            "ready": False,
            "missing": {"online": "not published yet"},
            "trainer": {},
            "precision": {},
            "engine": {},
            "processes": {},
        }

    def test_a_graph_that_fails(self, start: Start, publish: Any, log: MemoryLog) -> None:
        publish({"a": 0.1}, graph=b"broken").publish_catalog([("c", 5.0)], [])
        app = ready(start())
        answer = rank(app, "a", "b", "c")
        assert answer["degraded"] == ["scorer"]
        assert shown(answer) == ["c", "a", "b"]
        (impression,) = until(lambda: stored(log))
        assert isinstance(impression, Impression)
        assert impression.degraded == ["scorer"]

    @pytest.mark.parametrize("exploration", ["none", "plackett_luce"])
    def test_a_row_that_diverged(self, start: Start, publish: Any, log: MemoryLog, exploration: str) -> None:
        """Neither a score nor a propensity that is no number reaches the log."""
        publish({"a": float("nan"), "b": 0.1}).publish_catalog([("c", 5.0)], [])
        app = ready(start(exploration=exploration))
        answer = rank(app, "a", "b", "c")
        assert answer["degraded"] == ["scorer"]
        assert shown(answer) == ["c", "a", "b"]
        (impression,) = until(lambda: stored(log))
        assert isinstance(impression, Impression)
        assert np.isfinite([*impression.scores, *impression.propensities]).all()
        assert rank(app, "b", "c")["degraded"] == []

    def test_a_deadline_that_cannot_be_kept(self, start: Start, publish: Any) -> None:
        publish({"a": 0.1})
        answer = rank(ready(start(deadline=0)), "a")
        assert answer["degraded"] == ["deadline"]

    def test_features_that_cannot_be_encoded(self, start: Start, publish: Any) -> None:
        spec = FeatureSpec.of([*SPEC.fields, Field("age", "numeric", "request.age")])
        publish({"a": 0.1}, spec=spec)
        answer = rank(ready(start()), "a", features={"age": "old"})
        assert answer["degraded"] == ["features"]

    def test_a_log_that_refuses(self, start: Start, log: FailingLog) -> None:
        app = start()
        log.refuse = True
        rank(app, "a")
        until(lambda: "log" in rank(app, "a")["degraded"])
        log.refuse = False
        until(lambda: "log" not in rank(app, "a")["degraded"])

    def test_a_durable_answer_waits_for_the_log(self, start: Start, log: FailingLog) -> None:
        app = start(durable=True)
        log.asked = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(rank, app, "a")
            assert log.asked.wait(120)
            assert not answer.done()
            assert stored(log) == []
            log.go_on.set()
            assert "log" not in answer.result()["degraded"]
        (impression,) = stored(log)
        assert isinstance(impression, Impression)
        assert impression.id == answer.result()["impression"]

    def test_a_durable_answer_waits_for_the_deadline_at_most(self, start: Start, log: FailingLog) -> None:
        app = start(durable=True, deadline=50)
        log.asked = threading.Event()
        assert "log" in rank(app, "a")["degraded"]
        assert log.asked.is_set()
        log.go_on.set()
        until(lambda: len(stored(log)) == 1)

    def test_a_durable_answer_says_that_the_log_refused(self, start: Start, log: FailingLog) -> None:
        app = start(durable=True)
        log.refuse = True
        assert "log" in rank(app, "a")["degraded"]  # the first one already
        log.refuse = False
        assert "log" not in rank(app, "a")["degraded"]


class TestRecommend:
    def test_candidates_are_found_ranked_and_logged(self, start: Start, publish: Any, log: MemoryLog) -> None:
        publish({"a": 0.1, "b": 0.4, "n": 0.2}).publish_catalog([("a", 5.0), ("b", 2.0), ("x", 1.0)], [("n", 9)])
        app = ready(start())
        response = app.post("/v1/recommend", json={"user": "u", "count": 3, "exclude": ["x"]})
        assert shown(response.json()) == ["b", "n", "a"]
        assert [item["source"] for item in response.json()["items"]] == ["popular", "recent", "popular"]
        assert [event.id for event in until(lambda: stored(log))] == [response.json()["impression"]]

    def test_what_is_in_the_basket_is_not_shown_and_what_completes_it_is_named(
        self, start: Start, publish: Any, client: RedisClient
    ) -> None:
        publisher = publish({"a": 0.1, "b": 0.4, "n": 0.2})
        publisher.publish_catalog([("a", 5.0), ("b", 2.0)], [])
        sets = ItemSets("menus", {"a", "n"}, members=5)
        described = Changes({"a": {"menus": ["x"]}, "n": {"menus": ["x"]}})
        sets.update(described)
        publisher.publish_entity_changes(Changes(), described)
        publisher.item_sets.apply(sets.drain_changes())
        app = ready(start(item_sets="menus", shares={"basket": 0.5, "popular": 0.5}))
        answer = app.post("/v1/recommend", json={"user": "u", "basket": ["a"]}).json()
        assert [(item["item"], item["source"]) for item in answer["items"]] == [("b", "popular"), ("n", "basket")]

    def test_without_any_item_it_says_so(self, start: Start, log: MemoryLog) -> None:
        answer = start().post("/v1/recommend", json={"user": "u"}).json()
        assert (answer["items"], answer["degraded"]) == ([], ["no_items"])
        assert stored(log) == []


class TestBadRequests:
    @pytest.fixture(scope="class")
    @classmethod
    def strict(cls, redis_folder: Path) -> Iterator[tuple[httpx.Client, MemoryLog]]:
        """An application that knows its features and takes little."""
        log = MemoryLog()
        settings = Settings(
            redis_folder=redis_folder,
            rules=Rules(request={"age": "numeric"}, item={"p": "numeric"}),
            max_candidates=3,
            max_body=4096,
            deduplication_window=FEW_EVENTS,
        )
        with running(build(settings, log, Graphs())) as app:
            yield app, log

    @pytest.mark.parametrize(
        ("path", "body", "status", "field"),
        [
            ("rank", b"", 400, ""),
            ("rank", b'{"user": "u", "items"', 400, ""),
            ("rank", b"\xff\xfe", 400, ""),
            ("rank", b'{"user": ' + b"[" * 3000, 422, "user"),
            ("rank", b'{"items": ["a"]}', 422, "user"),
            ("rank", b'{"user": "u", "items": []}', 422, "items"),
            ("rank", b'{"user": "u", "items": ["a", 3]}', 422, "items[1]"),
            ("rank", b'{"user": "u", "items": ["a", "b", "a"]}', 422, "items"),
            ("rank", b'{"user": "u", "items": ["a"], "colour": 1}', 422, "colour"),
            ("rank", b'{"user": "u", "items": ["a"], "count": 0}', 422, "count"),
            ("rank", b'{"user": "u", "items": ["a"], "time": -1}', 422, "time"),
            ("rank", b'{"user": "u", "items": ["a"], "time": 4070908800000}', 422, "time"),
            ("rank", b'{"user": "u", "items": ["a"], "features": {"age": NaN}}', 400, "features.age"),
            ("rank", b'{"user": "u", "items": ["a"], "features": {"colour": "red"}}', 422, "features.colour"),
            ("rank", b'{"user": "u", "items": ["a"], "features": {"age": "old"}}', 422, "features.age"),
            ("rank", b'{"user": "u", "items": ["a"], "features": {"age": 3.4e38}}', 422, "features.age"),
            ("rank", b'{"user": "u", "items": ["a"], "item_features": {"p": [1, 2]}}', 422, "item_features.p"),
            ("rank", b'{"user": "u", "items": ["a"], "experiment": "none"}', 422, "experiment"),
            ("rank", b'{"user": "u", "items": ["a", "b", "c", "d"]}', 422, "items"),
            ("rank", b'{"user": "' + b"u" * 1000 + b'", "items": ["a"]}', 422, "user"),
            ("rank", b'{"user": "u", "items": ["' + b"a" * 5000 + b'"]}', 413, ""),
            ("recommend", b'{"user": "u", "count": "many"}', 422, "count"),
            ("recommend", b'{"user": "u", "features": {"colour": "red"}}', 422, "features.colour"),
            ("events", b"", 400, ""),
            ("events", b"[{]", 400, ""),
            ("events", b"{", 422, ""),
            ("events", b'{"type": "interaction", "time": 1, "impression": "i"}', 422, "item"),
            ("events", b'{"type": "teapot"}', 422, "type"),
            ("events", b'{"type": "user", "time": 4070908800000, "user": "u", "features": {}}', 422, "time"),
            ("events", b'{"type": "user", "time": 1, "user": "u", "features": {"colour": 1}}', 422, "features.colour"),
        ],
    )
    def test_the_field_is_named(
        self, strict: tuple[httpx.Client, MemoryLog], path: str, body: bytes, status: int, field: str
    ) -> None:
        app, log = strict
        response = app.post(f"/v1/{path}", content=body)
        assert response.status_code == status, response.text
        error = response.json()["error"]
        assert error["field"] == field
        assert error["message"]
        assert stored(log) == []

    def test_other_paths_and_methods(self, start: Start) -> None:
        app = start()
        assert app.get("/v1/rank").status_code == 405
        missing = app.get("/v2/rank")
        assert missing.status_code == 404
        assert "POST /v1/rank" in missing.json()["error"]["message"]


class TestEvents:
    CLICK: dict[str, Any] = {"type": "interaction", "time": 5, "impression": "i", "item": "a"}  # noqa: RUF012

    def test_one_many_or_lines(self, start: Start, log: MemoryLog) -> None:
        app = start()
        lines = "\n\n".join(json.dumps(self.CLICK | {"id": f"l{i}"}) for i in range(2)).encode() + b"\n"
        bodies = (
            json.dumps(self.CLICK | {"id": "one"}, indent=1).encode(),
            json.dumps([self.CLICK | {"id": f"a{i}"} for i in range(2)]).encode(),
            lines,
        )
        for body, expected in zip(bodies, (["one"], ["a0", "a1"], ["l0", "l1"]), strict=True):
            response = app.post("/v1/events", content=body)
            assert response.status_code == 200
            assert [result["id"] for result in response.json()["results"]] == expected
        assert [event.id for event in stored(log)] == ["one", "a0", "a1", "l0", "l1"]

    def test_every_event_has_its_own_result(self, start: Start, log: MemoryLog) -> None:
        response = start().post("/v1/events", json=[{"type": "user"}, self.CLICK, {"type": "item", "time": "x"}])
        answer = response.json()
        assert response.status_code == 200
        assert (answer["accepted"], answer["rejected"]) == (1, 2)
        assert [result["status"] for result in answer["results"]] == ["rejected", "accepted", "rejected"]
        assert [result.get("field", "") for result in answer["results"]] == ["time", "", "time"]
        (event,) = stored(log)
        assert isinstance(event, Interaction)
        assert event.id == answer["results"][1]["id"] != ""

    def test_an_event_that_came_before_is_a_duplicate_also_after_a_restart(self, start: Start, log: MemoryLog) -> None:
        app = start()
        first = app.post("/v1/events", json=[self.CLICK, self.CLICK]).json()
        assert (first["accepted"], first["duplicate"], first["rejected"]) == (1, 1, 0)
        for server in (app, start()):
            answer = server.post("/v1/events", json=self.CLICK)
            assert answer.status_code == 200
            assert answer.json()["results"] == [{"status": "duplicate", "id": first["results"][0]["id"]}]
        assert len(stored(log)) == 1
        assert 'recsys_events_total{status="duplicate"} 2.0' in app.get("/metrics").text

    def test_actions_that_decide_no_label_are_named(self, start: Start, log: MemoryLog) -> None:
        app = start(learned=frozenset({"buy", "rate"}))
        other = [self.CLICK | {"action": action, "item": item} for action, item in (("buy", "a"), ("view", "b"))]
        answer = app.post("/v1/events", json=[self.CLICK, self.CLICK, *other]).json()
        assert (answer["accepted"], answer["duplicate"]) == (3, 1)
        assert answer["ignored_actions"] == {"click": 1, "view": 1}
        assert len(stored(log)) == 3
        assert start().post("/v1/events", json=self.CLICK | {"item": "c"}).json()["ignored_actions"] == {}

    def test_another_event_with_a_known_id_is_rejected(self, start: Start, log: MemoryLog) -> None:
        app = start()
        app.post("/v1/events", json=self.CLICK | {"id": "c"})
        response = app.post("/v1/events", json=[self.CLICK, self.CLICK | {"id": "c", "item": "b"}])
        answer = response.json()
        assert response.status_code == 200
        assert [result["status"] for result in answer["results"]] == ["accepted", "rejected"]
        refused = answer["results"][1]
        assert (refused["id"], refused["field"]) == ("c", "id")
        assert answer["error"] == {"field": "id", "message": "another interaction has this id, 'c', with other content"}
        for other in ({"time": 6}, {"action": "buy"}, {"impression": "another"}, {"value": 2.0}):
            assert app.post("/v1/events", json=self.CLICK | {"id": "c"} | other).status_code == 422
        assert len(stored(log)) == 2

    def test_the_impression_of_an_answer_sent_again_is_a_duplicate(self, start: Start, publish: Any) -> None:
        publish({"a": 0.1})
        app = ready(start())
        shown = rank(app, "a", "b", user="u", time=7)
        event = {"type": "impression", "time": 7, "user": "u", "id": shown["impression"]}
        items = [item["item"] for item in shown["items"]]
        app.post("/v1/events", json=self.CLICK | {"impression": shown["impression"]})
        answer = app.post("/v1/events", json=event | {"items": items}).json()
        assert answer["duplicate"] == 1

    def test_what_is_not_stored_is_not_acknowledged(self, start: Start, log: FailingLog) -> None:
        app = start()
        log.refuse = True
        response = app.post("/v1/events", json=self.CLICK)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert "no space left" in response.json()["error"]["message"]
        log.refuse = False
        assert app.post("/v1/events", json=self.CLICK).status_code == 200

    def test_what_the_log_said_is_shown_as_it_was_published(self, start: Start, client: RedisClient) -> None:
        app = start(experiments=(AB,))
        assert app.get("/v1/experiments").json()["judged"] is None
        counts = LogCounts(AB, 0, 0, goals=(BACK,), watch=True)
        said = JudgedExperiments(NOW, [log_summary(AB, counts, 0, 0, (BACK,), (Guardrail("latency"),))])
        publish_judged(client, said)
        shown = app.get("/v1/experiments").json()
        assert shown["judged"] == json.loads(msgspec.json.encode(said))
        assert shown["judged"]["experiments"][0]["guardrails"][0]["comparisons"][0]["verdict"] == "no data"
        client.set("recsys:judged", b'{"at": "of another version"}')
        assert app.get("/v1/experiments").json()["judged"] is None

    def test_a_click_shows_in_the_experiment(self, start: Start, publish: Any) -> None:
        publish({"a": 0.1})
        app = ready(start())
        answer = rank(app, "a", "b")
        rank(app, "a", "b")
        app.post("/v1/events", json=self.CLICK | {"impression": answer["impression"]})

        def counted() -> bool:
            (arm,) = app.get("/v1/experiments").json()["experiments"][0]["arms"]
            return bool(arm["impressions"] == 2 and arm["clicks"] == 1 and arm["users"] == 1)

        until(counted)


class TestDocumentation:
    def test_the_document_describes_every_route(self, start: Start) -> None:
        app = start()
        document = app.get("/openapi.json").json()
        described = {path for path in document["paths"] if app.get(path).status_code != 404}
        assert described == set(document["paths"])

    def test_every_route_is_described(self) -> None:
        routes, batches, erasure, metrics = (
            MagicMock(spec=part) for part in (Routes, BatchRoute, ErasureRoute, Metrics)
        )
        access, connections = Access([], lambda: 0.0), OpenConnections(ConnectionLimits())
        app = create_app(routes, batches, erasure, metrics, access, lambda: 0.0, connections)
        served = {
            (route.path.replace(":path", ""), method)
            for route in vars(app)["_app"].routes
            for method in route.methods or {"GET"}
        }
        own = {("/", "GET"), ("/docs", "GET"), ("/openapi.json", "GET")}
        described = {(operation.path, operation.method.upper()) for operation in OPERATIONS}
        assert {route for route in served if route[1] != "HEAD"} - own == described

    def test_answers_and_examples_are_as_described(self, start: Start, publish: Any) -> None:
        publish({"a": 0.1}).publish_catalog([("a", 1.0)], [])
        app = ready(start())
        document = app.get("/openapi.json").json()
        for path in ("/v1/rank", "/v1/recommend", "/v1/events"):
            body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
            jsonschema.validate(body["example"], body["schema"] | {"components": document["components"]})
            response = app.post(path, json=body["example"])
            assert response.status_code == 200, response.text
            described = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(response.json(), described | {"components": document["components"]})

    def test_the_page_needs_nothing_from_elsewhere(self, start: Start) -> None:
        page = start().get("/docs").text
        assert "/v1/rank" in page
        assert "http://" not in page
        assert "https://" not in page
        assert "`" not in page

    def test_an_example_is_stored_only_when_that_is_ticked(self, start: Start) -> None:
        """The browser sends no form with an empty box that is required."""
        forms = re.findall(r"<form.*?</form>", start().get("/docs").text, re.DOTALL)
        storing = [form for form in forms if 'data-method="POST"' in form]
        assert len(storing) == 4
        assert all('<input type="checkbox" required>' in form for form in storing)

    def test_who_comes_to_the_wrong_place_is_sent_there(self, start: Start) -> None:
        app = start()
        home = app.get("/")
        assert home.is_redirect
        assert app.get("/", follow_redirects=True).url.path == "/docs"
        assert "/docs" in app.get("/nowhere").json()["error"]["message"]


def test_metrics_tell_what_happened(start: Start, publish: Any) -> None:
    publish({"a": 0.1}, step=7)
    app = ready(start())
    for _ in range(2):
        rank(app, "a", "b")
    app.post("/v1/rank", content=b"{")
    app.post("/v1/events", json=[TestEvents.CLICK, {}])
    app.get("/somewhere/else")
    found = figures(app)
    assert found['recsys_requests_total{route="/v1/rank",status="200"}'] == 2
    assert found['recsys_requests_total{route="/v1/rank",status="400"}'] == 1
    assert found['recsys_requests_total{route="other",status="404"}'] == 1
    assert found['recsys_stage_seconds_count{stage="score"}'] == 2
    assert found['recsys_events_total{status="accepted"}'] == 1
    assert found['recsys_events_total{status="rejected"}'] == 1
    assert found['recsys_model_step{model="online"}'] == 7
    assert found['recsys_cache_rows_total{model="online",result="hit"}'] >= 3
    assert found["recsys_redis_available"] == 1


def test_a_model_says_what_it_scores_in(start: Start, publish: Any) -> None:
    publish({"a": 0.1}, graph=b"coarse")
    app = ready(start())
    assert figures(app)['recsys_model_precision{model="online",precision="float32"}'] == 1
    while figures(app).get('recsys_model_precision{model="online",precision="bfloat16"}') != 1:
        rank(app, "a", "b")
    assert 0 < figures(app)['recsys_model_precision_error{model="online"}'] < 0.1
    assert figures(app)['recsys_model_engine{engine="sum",model="online"}'] == 1
    assert app.get("/readyz").json()["engine"] == {"online": "sum"}
    said = app.get("/readyz").json()["precision"]["online"]
    assert (said["used"], said["reason"]) == ("bfloat16", "")


def test_the_trainer_s_state_is_shown(start: Start, publish: Any, client: RedisClient) -> None:
    publish({"a": 0.1}).publish_status({"steps": 12, "tables": {"item": {"rows": 3, "evicted": 1}}})
    app = ready(start())
    trainer = app.get("/readyz").json()["trainer"]["online"]
    assert trainer["status"].pop("rows_changed") > 0
    assert trainer["status"] == {"steps": 12, "tables": {"item": {"rows": 3, "evicted": 1}}}
    assert 0 <= trainer["age"] < 600
    text = app.get("/metrics").text
    assert 'recsys_trainer{model="online",name="steps"} 12.0' in text
    assert 'recsys_trainer_table{counter="evicted",model="online",table="item"} 1.0' in text
    assert 'recsys_trainer_status_age_seconds{model="online"}' in text


def test_health_is_about_the_process(start: Start) -> None:
    assert start().get("/healthz").text == "ok\n"
