"""Simulated users of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.client import Client
from recsys.errors import StateError
from recsys.simulation.platform import ServedLists
from recsys.simulation.simulation import Truth
from recsys.simulation.user_model import PlantedUsers
from serving.assembly import build
from serving.experiments.assignment import Arm, Experiment
from serving.process_settings import Settings
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher
from streaming.events.schema import Impression, Interaction, ItemUpdate
from tests.serving.api.asking import FailingLog, stored
from tests.serving.fakes import Graphs
from tests.serving.running import running
from tests.serving.waiting import until

AB = Experiment("ab", (Arm("one", "popularity"), Arm("two", "popularity")))


@pytest.fixture
def log() -> FailingLog:
    return FailingLog()


@pytest.fixture
def app(tmp_path: Path, log: FailingLog) -> Iterator[httpx.Client]:
    with EmbeddedRedis(tmp_path) as server, server.client() as client:
        Publisher(client, "online").publish_catalog([(f"item-{n}", float(n)) for n in range(12)], [])
        settings = Settings(redis_folder=tmp_path, experiments=(AB,), deadline=60_000)
        with running(build(settings, log, Graphs())) as started:
            yield started


def simulate(app: httpx.Client, out: Path, items: int) -> tuple[int, str]:
    options = ["--users", "10", "--days", "0.5", "--shown", "4", "--url", str(app.base_url), "--out", str(out)]
    done = CliRunner().invoke(main, ["simulate", "--items", str(items), *options])
    return done.exit_code, done.output


def test_they_are_shown_its_lists_and_it_hears_what_they_do(app: httpx.Client, log: FailingLog, tmp_path: Path) -> None:
    status, said = simulate(app, tmp_path / "out", 12)
    assert status == 0, said
    truth = msgspec.json.decode((tmp_path / "out" / "truth.json").read_bytes(), type=Truth)
    assert truth.arms.keys() == {"one", "two"}

    def lists() -> list[Impression]:
        return [one for one in stored(log) if isinstance(one, Impression)]

    until(lambda: len(lists()) == truth.visits)  # the last one is stored after its answer
    events, shown = stored(log), lists()
    clicks = [one for one in events if isinstance(one, Interaction)]
    assert len(clicks) == sum(arm.clicks for arm in truth.arms.values()) > 0
    assert {one.impression for one in clicks} <= {one.id for one in shown}
    assert len([one for one in events if isinstance(one, ItemUpdate)]) == 12
    assert not (tmp_path / "out" / "events.jsonl").exists()


def test_a_server_with_other_items_is_refused(app: httpx.Client, tmp_path: Path) -> None:
    status, said = simulate(app, tmp_path / "out", 3)
    assert status == 1
    assert "is not simulated: use a project of its own" in said


def test_a_server_that_recommends_nothing_is_given_time(tmp_path: Path, log: FailingLog) -> None:
    with EmbeddedRedis(tmp_path) as server, server.client() as client:
        settings = Settings(redis_folder=tmp_path, experiments=(AB,), deadline=60_000)
        with running(build(settings, log, Graphs())) as app, Client(str(app.base_url)) as asking:
            waits: list[float] = []

            def publish(seconds: float) -> None:
                waits.append(seconds)
                if len(waits) == 3:
                    Publisher(client, "online").publish_catalog([("item-1", 1.0)], [])
                    until(lambda: asking.recommend("nobody", count=1).items)

            model = PlantedUsers(1, 2)
            shown = ServedLists(model, asking, sleep=publish).show(0, 5, 1, np.ones(2))
            assert (shown.items, len(waits)) == ([1], 3)


def test_a_server_that_goes_on_recommending_nothing_is_an_error(tmp_path: Path, log: FailingLog) -> None:
    settings = Settings(redis_folder=tmp_path, experiments=(AB,), deadline=60_000)
    with running(build(settings, log, Graphs())) as app, Client(str(app.base_url)) as asking:
        users = ServedLists(PlantedUsers(1, 2), asking, patience=0.4, sleep=lambda _: None)
        with pytest.raises(StateError, match="train --follow"):
            users.show(0, 5, 1, np.ones(2))
