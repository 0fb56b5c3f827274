"""Lists for many users in one request, and lists that are logged when they are shown."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from serving.api.messages.schemas import MOST_LISTS, BatchResponse
from serving.assembly import build
from serving.process_settings import Settings
from streaming.events.schema import Impression
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import HeldScorer, Start, figures, rank, ready, shown, stored
from tests.serving.fakes import TRIED
from tests.serving.running import running
from tests.serving.waiting import until


def asked(*users: str, **fields: Any) -> dict[str, Any]:
    return {"requests": [{"user": user, **fields} for user in users]}


def test_each_user_gets_a_list_that_is_logged(start: Start, publish: Any, log: MemoryLog) -> None:
    publish({"a": 0.1}).publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [])
    app = ready(start())
    body = asked("u1", "u2", count=2)["requests"] + asked("u3", experiment="unknown")["requests"]
    response = app.post("/v1/recommend/batch", json={"requests": body})
    answers = msgspec.json.decode(response.content, type=BatchResponse).answers
    assert [one.error is None for one in answers] == [True, True, False]
    assert answers[2].error is not None
    assert answers[2].error.field == "experiment"
    until(lambda: len(stored(log)) == 2)
    logged = {event.user: (event.id, len(event.items)) for event in stored(log) if isinstance(event, Impression)}
    assert logged == {
        user: (one.answer.impression, 2) for user, one in zip(("u1", "u2"), answers, strict=False) if one.answer
    }


def test_a_list_that_is_not_logged_has_the_event_to_send(start: Start, publish: Any, log: MemoryLog) -> None:
    publish({"a": 0.1, "b": 0.4})
    app = ready(start())
    answer = rank(app, "a", "b", log=False, features={"given": "x"})
    assert shown(answer) == ["b", "a"]
    assert stored(log) == []
    event = msgspec.convert(answer["event"], Impression)
    assert (event.id, event.items, event.features) == (answer["impression"], ["b", "a"], {"given": "x"})
    assert app.post("/v1/events", json={**answer["event"], "time": event.time + 5}).json()["accepted"] == 1
    assert stored(log) == [msgspec.structs.replace(event, time=event.time + 5)]
    assert "event" not in rank(app, "a")


class OrderedScorer(HeldScorer):
    """Remembers how many candidates each list had."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def begin(self, candidates: int) -> None:
        super().begin(candidates)
        if candidates != TRIED:
            self.sizes.append(candidates)


def test_other_requests_come_between_the_lists(settings: Settings, publish: Any, log: MemoryLog) -> None:
    scorer = OrderedScorer()
    publish({"a": 0.1}).publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [])
    with running(build(settings, log, lambda _: scorer)) as app, ThreadPoolExecutor(2) as pool:
        until(lambda: app.get("/readyz").status_code == 200)
        batch = pool.submit(app.post, "/v1/recommend/batch", json=asked("u1", "u2"))
        assert scorer.asked.wait(120)
        other = pool.submit(rank, app, "a")
        until(lambda: figures(app)["recsys_queue_requests"] == 2)
        scorer.go_on.set()
        assert len(batch.result(120).json()["answers"]) == 2
        assert shown(other.result(120)) == ["a"]
    assert scorer.sizes == [3, 1, 3]


def test_a_batch_has_an_end(start: Start, publish: Any) -> None:
    publish({"a": 0.1})
    app = ready(start())
    for users, field in (((), "requests"), (["u"] * (MOST_LISTS + 1), "requests"), (["u", ""], "requests[1].user")):
        response = app.post("/v1/recommend/batch", json=asked(*users))
        assert response.status_code == 422
        assert response.json()["error"]["field"] == field


class LeftScorer(OrderedScorer):
    """Ranks two lists, and the third when the client has left."""

    def __init__(self) -> None:
        super().__init__()
        self.third, self.left = threading.Event(), threading.Event()
        self.go_on.set()

    def begin(self, candidates: int) -> None:
        if len(self.sizes) == 2 and candidates != TRIED:
            self.third.set()
            assert self.left.wait(120)
        super().begin(candidates)


def test_of_a_client_that_leaves_before_its_last_list_none_is_logged(
    settings: Settings, publish: Any, log: MemoryLog
) -> None:
    scorer = LeftScorer()
    publish({"a": 0.1}).publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [])
    with running(build(settings, log, lambda _: scorer)) as app:
        until(lambda: app.get("/readyz").status_code == 200)
        body = msgspec.json.encode(asked("u1", "u2", "u3", "u4"))
        head = f"POST /v1/recommend/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((app.base_url.host, app.base_url.port or 0)) as leaving:
            leaving.sendall(head.encode() + body)
            assert scorer.third.wait(120)
        until(lambda: figures(app)["recsys_connections"] == 1)
        scorer.left.set()
        gone = 'recsys_requests_total{route="/v1/recommend/batch",status="499"}'
        until(lambda: figures(app).get(gone) == 1)
        rank(app, "a")
        until(lambda: bool(stored(log)))
    assert scorer.sizes == [3, 3, 3, 1]
    assert [event.items for event in stored(log) if isinstance(event, Impression)] == [["a"]]
