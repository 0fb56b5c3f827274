"""Two projects on one Redis: each in a database of its own, or in one by their names."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from embedding.store import Delta, TableDelta
from serving.assembly import build
from serving.experiments.assignment import Arm, Experiment
from serving.process_settings import Settings
from serving.replication.embedded_redis import EmbeddedRedis, connect, socket_path
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import rank, ready, shown
from tests.serving.fakes import SPEC, Graphs, artefact, ids, rows
from tests.serving.running import running
from tests.serving.waiting import until

Place = tuple[str, str]
"""URL and project."""
AB = Experiment("ab", (Arm("one"), Arm("two", "popularity")))


def publish(place: Place, scores: dict[str, float]) -> None:
    """A model, features and a catalogue under the same names in each project."""
    with connect(place[0], project=place[1]) as client:
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


@pytest.fixture(params=["databases", "names"])
def places(tmp_path: Path, request: pytest.FixtureRequest) -> list[Place]:
    url = f"unix://{socket_path(tmp_path)}"
    if request.param == "names":
        return [(url, "recsys"), (url, "shop")]
    return [(f"{url}?db={number}", "recsys") for number in (0, 1)]


def empty(place: Place) -> None:
    """Remove the project's keys."""
    with connect(place[0], project=place[1]) as client:
        client.unlink(*client.scan_iter(f"{place[1]}:*"))


def test_they_do_not_see_each_other(tmp_path: Path, places: list[Place]) -> None:
    with ExitStack() as stack:
        stack.enter_context(EmbeddedRedis(tmp_path))
        publish(places[0], {"a": 0.4, "b": 0.1, "mine": 0.2})
        publish(places[1], {"a": 0.1, "b": 0.4, "other": 0.2})
        settings = [Settings(redis_url=url, project=name, experiments=(AB,), deadline=60_000) for url, name in places]
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
        empty(places[0])
        until(lambda: first.get("/v1/experiments").json()["experiments"][0]["arms"][0]["impressions"] == 0)
        assert shown(rank(second, "a", "b", user=user)) == ["b", "a"]
        until(lambda: impressions(second) == 3)
