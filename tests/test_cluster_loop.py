"""The whole loop over a Redis Cluster: training, serving, a click, the commands that read Redis, erasing a user."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.config.schema import Config
from recsys.training.trainer import Trainer
from serving.assembly import build
from serving.model.scorer import load_scorer
from serving.replication.embedded_redis import connect
from tests.projects import SMALL, project
from tests.serving.redis_servers import redis_cluster
from tests.serving.running import running
from tests.serving.waiting import until
from tests.test_loop import events, learn_of_click

pytestmark = pytest.mark.slow

SETTINGS = f"""
[redis]
url = "URL"
publish_every = "50ms"
{SMALL}
[training]
batch_size = 64
wait = "1m"
[serving]
deadline = "30s"
[[experiments]]
name = "ab"
arms = [{{ name = "model", model = "online" }}, {{ name = "list", model = "popularity" }}]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Iterator[Config]:
    folder = tmp_path_factory.mktemp("loop")
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield project(folder, SETTINGS.replace("URL", cluster.url), events(), graphs)


@pytest.fixture(scope="module")
def trainer(config: Config) -> Iterator[Trainer]:
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        assert trainer.learner.steps > 10
        yield trainer


@pytest.fixture(scope="module")
def http(config: Config, trainer: Trainer) -> Iterator[httpx.Client]:
    log = wiring.event_log(config)
    with running(build(wiring.server(config), log, partial(load_scorer, engine="openvino"))) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client
    log.close()


def command(config: Config, name: str, *arguments: str) -> str:
    path = config.training.checkpoints.parent.parent / "recsys.toml"
    result = CliRunner().invoke(main, [name, "--config", str(path), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_click_changes_the_score(config: Config, trainer: Trainer, http: httpx.Client) -> None:
    user = next(name for name in (f"u{n}" for n in range(99)) if answer(http, name)["arm"] == "model")
    first = answer(http, user)
    assert first["degraded"] == []
    learn_of_click(config, trainer, http, str(first["impression"]), "i3")
    before = score(first)
    until(lambda: score(answer(http, user)) != before)


def test_counts_and_status_are_there(config: Config, http: httpx.Client) -> None:
    def impressions() -> int:
        (experiment,) = http.get("/v1/experiments").json()["experiments"]
        return sum(arm["impressions"] for arm in experiment["arms"])

    before = impressions()
    answer(http, "someone")
    until(lambda: impressions() > before)
    assert json.loads(command(config, "status", "--json"))["status"]["serves"]
    assert "online" in command(config, "versions")


def test_a_user_is_erased_from_all_nodes(config: Config, trainer: Trainer) -> None:
    with connect(config.redis.url) as client:

        def of_user() -> list[bytes]:
            return [key for node in client.nodes() for key in node.scan_iter("*:user:u1")]

        until(of_user)
        with wiring.places(config, ["u1"]) as (places, _):
            (redis,) = [place for place in places if place.name == "Redis"]
            assert redis.count() >= 2  # features and a row
            redis.remove()
            assert redis.count() == 0
        assert not of_user()


def answer(http: httpx.Client, user: str) -> dict[str, object]:
    found: dict[str, object] = http.post("/v1/rank", json={"user": user, "items": ["i1", "i3"]}).json()
    return found


def score(found: dict[str, object]) -> float:
    items = found["items"]
    assert isinstance(items, list)
    return float(next(item["score"] for item in items if item["item"] == "i3"))
