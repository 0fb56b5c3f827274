"""Traffic and surroundings that are not as they should be: no request fails, degraded answers say so, counts add up."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from recsys.errors import ArtefactError
from serving import assembly
from serving.assembly import build
from serving.experiments.assignment import Arm, Experiment
from serving.model.chunked_scorer import Scorer
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from streaming.events.schema import Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabelRule
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import FailingLog, Start, figures, rank, ready, shown, stored
from tests.serving.fakes import Graphs
from tests.serving.running import running
from tests.serving.waiting import until

AB = Experiment("ab", (Arm("a", "online"), Arm("b", "online")))
DAY = 86_400_000


def served_badly(app: httpx.Client) -> list[str]:
    """Metrics of answers with 5xx."""
    return [name for name in figures(app) if 'status="5' in name and "/readyz" not in name]


def click(app: httpx.Client, answer: dict[str, Any], ahead: int = 0) -> None:
    event = {"type": "interaction", "time": time.time_ns() // 1_000_000 + ahead, "action": "click"}
    event |= {"impression": answer["impression"], "item": shown(answer)[0]}
    assert app.post("/v1/events", json=event).json()["accepted"] == 1


def test_a_hot_user_counts_as_one_and_holds_nobody_up(start: Start, publish: Any, log: FailingLog) -> None:
    publish({"a": 0.1, "b": 0.4})
    app = ready(start(experiments=(AB,)))

    def ask(number: int) -> str:
        user = "hot" if number % 4 else f"user {number}"
        answer = rank(app, "a", "b", user=user)
        assert answer["degraded"] == []
        click(app, answer)
        return str(answer["arm"])

    with ThreadPoolExecutor(8) as pool:
        arms = list(pool.map(ask, range(400)))
    assert served_badly(app) == []
    assert len({arm for number, arm in enumerate(arms) if number % 4}) == 1, "the hot user stays in one arm"
    events = until(lambda: found if len(found := stored(log)) == 800 else None)
    assert sum(isinstance(event, Impression) and event.user == "hot" for event in events) == 300
    (found,) = app.get("/v1/experiments").json()["experiments"]
    assert sum(arm["impressions"] for arm in found["arms"]) == 400
    assert sum(arm["clicks"] for arm in found["arms"]) == 400
    assert sum(arm["users"] for arm in found["arms"]) == pytest.approx(101, abs=5)


def test_every_post_is_sent_again_also_to_another_server(start: Start, publish: Any, log: FailingLog) -> None:
    """As by clients that never get the first answer: each click is learned and counted once."""
    publish({"a": 0.1, "b": 0.4})
    one, other = (ready(start(experiments=(AB,))) for _ in range(2))
    for number in range(50):
        answer, again = (rank(server, "a", "b", user=f"user {number}") for server in (one, other))
        assert (answer["arm"], shown(answer)) == (again["arm"], shown(again))
        click = {"type": "interaction", "time": time.time_ns() // 1_000_000, "impression": answer["impression"]}
        sent = [server.post("/v1/events", json=click | {"item": "b"}).json() for server in (one, one, other)]
        assert [(each["accepted"], each["duplicate"]) for each in sent] == [(1, 0), (0, 1), (0, 1)]
    events = until(lambda: found if len(found := stored(log)) == 150 else None)
    joiner = Joiner(LabelRule(), wait=DAY, lateness=DAY)
    labels = [*joiner.push(encode_events(events)), *joiner.flush()]
    assert sum(sum(label.labels) for label in labels) == joiner.counts["joined"] == 50
    assert sum(len(label.labels) for label in labels if not label.learned) == 200
    (found,) = one.get("/v1/experiments").json()["experiments"]
    assert sum(arm["impressions"] for arm in found["arms"]) == 100
    assert sum(arm["clicks"] for arm in found["arms"]) == 50
    assert served_badly(one) + served_badly(other) == []


def test_a_clock_that_jumps(start: Start, publish: Any, log: FailingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour back, and a year ahead: answers go on, and impressions say what the clock said."""
    ahead = 0
    clock = SimpleNamespace(**{name: getattr(time, name) for name in ("monotonic", "perf_counter")})
    clock.time_ns = lambda: time.time_ns() + ahead * 1_000_000
    monkeypatch.setattr(assembly, "time", clock)
    publish({"a": 0.1, "b": 0.4})
    app = ready(start(experiments=(AB,)))
    for ahead in (0, -DAY // 24, 365 * DAY, 0):
        answer = rank(app, "a", "b", user=f"after {ahead}")
        assert (shown(answer), answer["degraded"]) == (["b", "a"], [])
        assert app.get("/readyz").status_code == 200
        click(app, answer, ahead)
    events = until(lambda: found if len(found := stored(log)) == 8 else None)
    times = [event.time for event in events if isinstance(event, Impression)]
    assert times[1] < times[0] - DAY // 25, "the clock did not jump back"
    assert times[2] > times[0] + 364 * DAY, "the clock did not jump ahead"
    assert served_badly(app) == []
    (found,) = app.get("/v1/experiments").json()["experiments"]
    assert sum(arm["impressions"] for arm in found["arms"]) == 4


class OldGraphs(Graphs):
    """Of a server that cannot open newer graphs."""

    def __call__(self, graph: bytes) -> Scorer:
        if graph.endswith(b"new"):
            raise ArtefactError("this engine is too old")
        return super().__call__(graph)


def arms(server: httpx.Client) -> list[dict[str, Any]]:
    """Those of the experiment, as counted so far."""
    found: list[dict[str, Any]] = server.get("/v1/experiments").json()["experiments"][0]["arms"]
    return found


def test_two_servers_at_different_versions_of_a_model(settings: Settings, publish: Callable[..., Any]) -> None:
    log, both = MemoryLog(), replace(settings, experiments=(AB,))
    publish({"a": 0.1, "b": 0.4}, step=1)
    with running(build(both, log, Graphs())) as new, running(build(both, log, OldGraphs())) as old:
        ready(new), ready(old)
        publish({"a": 0.1, "b": 0.4}, step=2, graph=b"sum new")
        until(lambda: rank(new, "a", "b", user="first")["model"] == "online@step-2")
        until(lambda: figures(old)["recsys_models_refused"] == 1)
        answers = [rank(server, "a", "b", user=f"user {number}") for number in range(20) for server in (new, old)]
        assert {answer["model"] for answer in answers[::2]} == {"online@step-2"}
        assert {answer["model"] for answer in answers[1::2]} == {"online@step-1"}, "both have the newer version"
        assert [one["arm"] for one in answers[::2]] == [one["arm"] for one in answers[1::2]]
        for number, answer in enumerate(answers):
            click((new, old)[number % 3 == 0], answer)
        events = until(lambda: found if isinstance((found := stored(log))[-1], Interaction) else [])
        logged = {event.id: event.model for event in events if isinstance(event, Impression)}
        assert {answer["impression"]: answer["model"] for answer in answers}.items() <= logged.items()
        assert sum(isinstance(event, Interaction) for event in events) == 40
        until(lambda: sum(arm["clicks"] for arm in arms(new)) == 40)  # counts follow the log
        counted = [arms(server) for server in (new, old)]
        assert counted[0] == counted[1]
        assert sum(arm["impressions"] for arm in counted[0]) == len(logged)
        assert served_badly(new) + served_badly(old) == []


def test_a_redis_that_was_emptied(start: Start, publish: Any, client: RedisClient) -> None:
    publish({"a": 0.1, "b": 0.4})
    app = ready(start())
    assert shown(rank(app, "a", "b")) == ["b", "a"]
    client.flushall()
    lost = rank(app, "a", "b", "c", user="new")
    assert lost["model"] == "online@step-1", "the graph is in memory"
    assert shown(lost)[:1] == ["b"], "rows that were asked for are cached"
    publish({"a": 0.9, "b": 0.4, "c": 0.1}, step=2)
    until(lambda: rank(app, "a", "b", "c")["model"] == "online@step-2")
    until(lambda: shown(rank(app, "a", "b", "c")) == ["a", "b", "c"])
    assert served_badly(app) == []
