"""Two projects on one Redis, each in a database of its own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from embedding.store import Delta, TableDelta
from serving.experiments.assignment import Arm, Experiment
from serving.replication.embedded_redis import EmbeddedRedis, connect, socket_path
from serving.replication.publish.publisher import Publisher
from serving.server import Settings, build
from streaming.encode.encoder import Encoder
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import rank, ready, shown
from tests.serving.fakes import SPEC, Graphs, artefact, ids, rows
from tests.serving.running import running
from tests.serving.waiting import until

AB = Experiment("ab", (Arm("one"), Arm("two", "popularity")))


def publish(url: str, scores: dict[str, float]) -> None:
    """A model, features and a catalogue under the same names in each project."""
    with connect(url) as client:
        publisher = Publisher(client, "online")
        items, _ = Encoder(SPEC).encode_items(list(scores), [{}] * len(scores))
        publisher.publish(Delta(1, True, {"item": TableDelta(items["item"].values, rows(*scores.values()), ids())}))
        publisher.publish_artefact(artefact())
        publisher.publish_catalog(list(scores.items()), [])


def recommended(app: httpx.Client) -> set[str]:
    return {item["item"] for item in app.post("/v1/recommend", json={"user": "u"}).json()["items"]}


def impressions(app: httpx.Client) -> int:
    (experiment,) = app.get("/v1/experiments").json()["experiments"]
    return sum(arm["impressions"] for arm in experiment["arms"])


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return [f"unix://{socket_path(tmp_path)}?db={number}" for number in (0, 1)]


def test_they_do_not_see_each_other(tmp_path: Path, urls: list[str]) -> None:
    with ExitStack() as stack:
        stack.enter_context(EmbeddedRedis(tmp_path))
        publish(urls[0], {"a": 0.4, "b": 0.1, "mine": 0.2})
        publish(urls[1], {"a": 0.1, "b": 0.4, "other": 0.2})
        settings = [Settings(redis_url=url, experiments=(AB,), deadline=60_000) for url in urls]
        first, second = (ready(stack.enter_context(running(build(one, MemoryLog(), Graphs())))) for one in settings)
        user = next(f"u{n}" for n in range(99) if AB.arm(f"u{n}").name == "one")
        assert shown(rank(first, "a", "b", user=user)) == ["a", "b"]
        assert shown(rank(second, "a", "b", user=user)) == ["b", "a"]
        assert recommended(first) == {"a", "b", "mine"}
        assert recommended(second) == {"a", "b", "other"}
        until(lambda: impressions(first) == 2)
        rank(first, "a", "b", user=user)
        until(lambda: impressions(first) == 3)
        until(lambda: impressions(second) == 2)
        with connect(urls[0]) as client:
            client.flushdb()
        until(lambda: first.get("/v1/experiments").json()["experiments"][0]["arms"][0]["impressions"] == 0)
        assert shown(rank(second, "a", "b", user=user)) == ["b", "a"]
        until(lambda: impressions(second) == 3)
