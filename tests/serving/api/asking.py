"""Parts of applications for tests, and requests to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from serving.api.messages.schemas import RankResponse
from streaming.events.schema import Event
from streaming.ingest.codec import to_events
from streaming.log.memory_log import MemoryLog
from tests.serving.fakes import TRIED, SumScorer
from tests.serving.waiting import until

Start = Callable[..., httpx.Client]


class HeldScorer(SumScorer):
    """Answers a request when it is told to."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.calls = 0

    def begin(self, candidates: int) -> None:
        if candidates != TRIED:
            self.calls += 1
            self.asked.set()
            assert self.go_on.wait(120)


class FailingLog(MemoryLog):
    refuse = False
    asked: threading.Event | None = None
    """Set by an append, which then waits for `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def append(self, events: Any, partition: int = 0) -> int:
        if self.asked is not None:
            self.asked.set()
            assert self.go_on.wait(120)
        if self.refuse:
            raise OSError("no space left on device")
        return super().append(events, partition)


def ready(app: httpx.Client) -> httpx.Client:
    until(lambda: app.get("/readyz").status_code == 200)
    return app


def rank(app: httpx.Client, *items: str, **fields: Any) -> dict[str, Any]:
    response = app.post("/v1/rank", json={"user": "u", "items": items, **fields})
    assert response.status_code == 200, response.text
    answer = response.json()
    msgspec.convert(answer, RankResponse)
    assert isinstance(answer, dict)
    return answer


def shown(answer: dict[str, Any]) -> list[str]:
    return [item["item"] for item in answer["items"]]


def stored(log: MemoryLog) -> list[Event]:
    events: list[Event] = []
    while (chunk := log.read(0, len(events))).events.num_rows:
        events += to_events(chunk.events)
    return events


def figures(app: httpx.Client) -> dict[str, float]:
    """The metrics, by name and labels."""
    lines = app.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
