"""More requests than can be ranked in time, and clients that leave, over real connections."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from serving.api.gate.service_time import ServiceTime
from serving.assembly import build
from serving.process_settings import Settings
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import FailingLog, HeldScorer, Start, figures, rank, ready, stored
from tests.serving.running import running
from tests.serving.waiting import until


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked is expected to take as long as the deadline of the settings."""
    monkeypatch.setattr(ServiceTime, "of", lambda *_: 60.0)


_STATUSES = ("200", "429", "499")
BODY = {"user": "gone", "items": ["a", "b", "c"]}


@contextmanager
def held(
    settings: Settings, log: MemoryLog, scorer: HeldScorer, publish: Any, **changes: Any
) -> Iterator[httpx.Client]:
    """A server whose ranker is busy with a first request, until the scorer is told to go on."""
    publish({"a": 0.1, "b": 0.4})
    with running(build(replace(settings, **changes), log, lambda _graph: scorer)) as app, ThreadPoolExecutor(1) as pool:
        ready(app)
        first = pool.submit(rank, app, "a", "b", "c")
        try:
            assert scorer.asked.wait(120)
            yield app
        finally:
            scorer.go_on.set()
            first.result()


@contextmanager
def sent(app: httpx.Client, body: object) -> Iterator[socket.socket]:
    """A connection on which a request was sent."""
    content = json.dumps(body)
    head = f"POST /v1/rank HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((app.base_url.host, app.base_url.port or 0)) as client:
        client.sendall((head + content).encode())
        yield client


@pytest.mark.usefixtures("slow")
def test_who_would_wait_too_long_is_refused_at_once(settings: Settings, log: FailingLog, publish: Any) -> None:
    with held(settings, log, HeldScorer(), publish) as app:
        refused = app.post("/v1/rank", json=BODY)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "60"
        assert "send it again after 60 s" in refused.json()["error"]["message"]
        assert app.post("/v1/recommend", json={"user": "u"}).status_code == 429
        chunked = app.post("/v1/rank", content=iter([json.dumps(BODY).encode()]))
        assert chunked.status_code == 429
        assert app.get("/healthz").status_code == 200
        found = figures(app)
        assert found['recsys_refused_total{reason="overload"}'] == 3
        assert found['recsys_requests_total{route="/v1/rank",status="429"}'] == 2
        assert found["recsys_queue_requests"] == 1
    assert len(until(lambda: stored(log))) == 1, "what was refused is no impression"


@pytest.mark.usefixtures("slow")
def test_a_refused_body_that_is_still_coming_does_not_confuse_the_next_request(
    settings: Settings, log: FailingLog, publish: Any
) -> None:
    large = BODY | {"features": {str(i): "x" * 1000 for i in range(300)}}
    with held(settings, log, HeldScorer(), publish) as app:
        for _ in range(3):
            assert app.post("/v1/rank", json=large).status_code == 429
            assert app.get("/healthz").text == "ok\n"


@pytest.mark.usefixtures("slow")
def test_by_configuration_nobody_is_refused(settings: Settings, log: FailingLog, publish: Any) -> None:
    scorer = HeldScorer()
    with ThreadPoolExecutor(1) as pool, held(settings, log, scorer, publish, overload="popularity") as app:
        second = pool.submit(rank, app, "a", "b", "c")
        until(lambda: figures(app)["recsys_queue_requests"] == 2)
        assert figures(app)['recsys_refused_total{reason="overload"}'] == 0
        scorer.go_on.set()
        assert second.result()["degraded"] == []


def test_a_client_that_leaves_the_queue_costs_the_ranker_nothing(
    settings: Settings, log: FailingLog, publish: Any
) -> None:
    scorer = HeldScorer()
    with held(settings, log, scorer, publish) as app:
        with sent(app, BODY):
            until(lambda: figures(app)["recsys_queue_requests"] == 2)
        until(lambda: figures(app)["recsys_queue_requests"] == 1)
        gone = 'recsys_requests_total{route="/v1/rank",status="499"}'
        assert until(lambda: figures(app).get(gone)) == 1, "counted when its handler ends, after it left the queue"
    assert scorer.calls == 1


def statuses(found: dict[str, float]) -> dict[str, float]:
    """How many requests to rank were answered so."""
    return {code: found.get(f'recsys_requests_total{{route="/v1/rank",status="{code}"}}', 0) for code in _STATUSES}


def test_clients_that_leave_at_random(start: Start, publish: Any, log: FailingLog) -> None:
    """No request fails, each answer is logged once, and the queue is empty at the end."""
    publish({"a": 0.1, "b": 0.4})
    app = ready(start(deadline=200))

    def client(seed: int) -> int:
        """Asks four times, and waits for the answer about every second time; how many came."""
        chance, answers = random.Random(seed), 0
        for _ in range(4):
            with sent(app, {"user": "u", "items": [f"item {i}" for i in range(300)]}) as connection:
                if chance.random() < 0.5:
                    answers += connection.recv(12) == b"HTTP/1.1 200"
        return answers

    with ThreadPoolExecutor(64) as pool:
        answered = sum(pool.map(client, range(64)))
    until(lambda: figures(app)["recsys_queue_requests"] == 0)
    until(lambda: sum(statuses(figures(app)).values()) == 64 * 4)
    found = figures(app)
    counted = statuses(found)
    assert counted["499"] > 0, "nobody left in time"
    assert not [name for name in found if 'route="/v1/rank",status="5' in name]
    assert 0 < answered <= counted["200"]
    until(lambda: len(stored(log)) == counted["200"])
    assert found["recsys_queue_seconds"] == 0
