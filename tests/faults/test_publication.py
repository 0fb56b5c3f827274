"""kill -9 of the embedded Redis below a trainer that runs alone: training goes on, and all is published again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis
from click.testing import CliRunner
from redis.client import Pipeline

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import LeaseError
from recsys.training.export.exporter import Exporter
from recsys.training.progress import Progress
from recsys.training.publishing.publication import Publication
from serving.api.messages.schemas import RankRequest
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.keys import ModelKeys
from serving.replication.publish.lease import Holder, Lease
from serving.replication.trainer_status import TrainerStatuses
from streaming.catalog import Catalog
from streaming.encode.entity_state import EntityState
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.forking import run_until_killed
from tests.projects import SMALL, share_graphs

pytestmark = pytest.mark.slow

SETTINGS = '[training]\nwait = "1s"\nlateness = "1s"\nbatch_size = 16\n[redis]\npublish_every = "0ms"\n' + SMALL


def events() -> list[Event]:
    return [
        event
        for i in range(200)
        for event in (
            Impression(f"i{i}", 1000 * i, f"u{i % 5}", ["a", "b"]),
            Interaction(1000 * i, f"i{i}", "a"),
            Interaction(1000 * i, f"i{i}", "b", action="skip"),
        )
    ]


@pytest.fixture
def config(tmp_path: Path, graphs: Path) -> Config:
    (tmp_path / "recsys.toml").write_text(SETTINGS)
    config = load(tmp_path / "recsys.toml")
    share_graphs(config.training.checkpoints, graphs)
    return config


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["step", "checkpoint written"])
def test_redis_killed_below_the_trainer(config: Config, moment: str) -> None:
    wiring.event_log(config).append(encode_events(events()))
    killed: list[int] = []

    def crash(point: str) -> None:
        if point == moment and not killed:
            with EmbeddedRedis(config.redis.folder) as server:
                killed.append(server.pid)
            os.kill(killed[0], signal.SIGKILL)

    with wiring.trainer(config, publish=True, crash=crash) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        steps = trainer.learner.steps
        with EmbeddedRedis(config.redis.folder) as server, server.client() as client:
            assert server.pid != killed[0]
            published = client.keys(f"recsys:{wiring.ONLINE}:{trainer.run_id}:row:item:*")
    assert steps > 5
    assert len(published) == 2


def test_after_redis_was_emptied_the_graph_is_published_again_with_the_rows(config: Config) -> None:
    """However seldom dense weights go: a server that starts meanwhile would have no model until then."""
    keys = ModelKeys(wiring.ONLINE, "3f")
    exporter = cast(Exporter, SimpleNamespace(ready=True, dim=16, graph=lambda _model: b"a graph"))
    with (
        wiring.publisher(config) as (publisher, _),
        EmbeddedRedis(config.redis.folder) as server,
        server.client() as client,
    ):
        parts = wiring.learner(config), publisher, exporter, EntityState(10), Catalog(half_life=1000)
        publication = Publication(*parts, rows_every=0, dense_every=3600)
        publication.start("3f")
        assert publication.publish(Progress(), {}, has_caught_up=False)
        client.flushall()
        assert not client.exists(keys.artefact)
        assert not publication.publish(Progress(), {}, has_caught_up=False)
        assert publication.publish(Progress(), {}, has_caught_up=False)
        assert client.exists(keys.artefact, keys.sequences[0]) == 2


def test_the_trainers_status_is_published(config: Config) -> None:
    wiring.event_log(config).append(encode_events(events()))
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        with EmbeddedRedis(config.redis.folder) as server, server.client() as client:
            statuses = TrainerStatuses([wiring.ONLINE])
            statuses.refresh(client)
        status, store = statuses.by_model[wiring.ONLINE].status, trainer.learner.store
        assert status["tables"] == {table: store.counters(table) for table in ("user", "item")}
        assert status["outcomes"] == trainer.outcomes
        assert status["event_time"] == trainer.progress.now
    assert (status["step"], status["rows"]) == (trainer.learner.steps, trainer.progress.rows)
    assert status["events_per_second"] > 0
    assert status["written"] > 1_700_000_000_000


HOLD = """
import sys
from pathlib import Path
from recsys import wiring
from recsys.config.file import load
with wiring.trainer(load(Path(sys.argv[1])), publish=True):
    print("publishes", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_second_trainer_of_one_redis_is_refused_and_a_restart_is_not_held_up_by_kill_9(config: Config) -> None:
    settings = config.training.checkpoints.parents[1] / "recsys.toml"
    command = [sys.executable, "-c", HOLD, str(settings)]
    (beside := settings.with_name("other.toml")).write_text(
        SETTINGS.replace("[training]", '[training]\ncheckpoints = "own"')
    )
    other = load(beside)
    with (
        EmbeddedRedis(config.redis.folder) as server,
        server.client() as client,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first,
    ):
        assert first.stdout is not None
        assert first.stdout.readline() == "publishes\n"
        with pytest.raises(LeaseError, match=f"process {first.pid} "), wiring.trainer(other, publish=True):
            pass
        with wiring.trainer(other, publish=False):
            pass
        first.kill()
        assert first.wait() == -signal.SIGKILL
        assert client.exists(ModelKeys(wiring.ONLINE).lease)  # nobody has ended it
        with pytest.raises(LeaseError), wiring.trainer(other, publish=True):
            pass
        for one in (config, other):
            with wiring.trainer(one, publish=True):
                pass


def test_a_trainer_that_loses_its_lease_ends_and_says_so(config: Config) -> None:
    wiring.event_log(config).append(encode_events(events()))
    key, taken = ModelKeys(wiring.ONLINE).lease, Holder("other", "elsewhere", 7, "run", 0)
    with EmbeddedRedis(config.redis.folder) as server, server.client() as client:

        def crash(point: str) -> None:
            if point == "step":
                client.delete(key)
                Lease(client, wiring.ONLINE, taken).transaction()

        with wiring.trainer(config, publish=True, crash=crash) as trainer:
            with pytest.raises(LeaseError, match="process 7 on host elsewhere"):
                trainer.run(follow=False, stop=threading.Event())
            assert trainer.learner.steps == 1
        assert b"elsewhere" in cast(bytes, client.get(key))


def anew(config: Config, graphs: Path, name: str = "anew") -> Path:
    """The file of a configuration with an empty folder of checkpoints, that learns faster."""
    file = config.log.dead_letters.parents[1] / f"{name}.toml"
    file.write_text(SETTINGS.replace("[training]", f'[training]\ncheckpoints = "{name}"\nsparse_lr = 0.3'))
    share_graphs(load(file).training.checkpoints, graphs)
    return file


@pytest.mark.slow
def test_a_model_learned_anew_is_served_when_it_is_whole(config: Config, graphs: Path) -> None:
    """It ends on its way, killed or not: the old one is untouched. Then it reads the log to the end."""
    wiring.event_log(config).append(encode_events(events()))
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        old = ModelKeys(wiring.ONLINE, trainer.run_id)
    config = load(settings := anew(config, graphs))
    with EmbeddedRedis(config.redis.folder) as server, server.client() as client:
        assert client.get(old.served) == old.run.encode()
        before = rows(client, old)
        seen: list[bool] = []

        def look(point: str) -> None:
            if point == "step":
                seen.append(rows(client, old) == before and client.get(old.served) == old.run.encode())

        with wiring.trainer(config, publish=True, crash=look) as trainer:
            trainer.run(follow=False, stop=threading.Event(), until=100_000)
            new = ModelKeys(wiring.ONLINE, trainer.run_id)
        assert len(seen) > 2
        assert all(seen)
        assert new.run != old.run
        assert not client.keys(new.all_rows)
        said = CliRunner().invoke(main, ["status", "-c", str(settings)]).output
        assert f"Run {new.run} is not served: servers follow another run" in " ".join(said.split())
        with wiring.trainer(config, publish=True) as trainer:
            assert trainer.resume()
            assert trainer.run_id == new.run, "a checkpoint keeps its run"
            trainer.run(follow=False, stop=threading.Event())
        assert client.get(old.served) == new.run.encode()
        assert set(rows(client, new))
        assert client.exists(new.artefact, new.sequences[0]) == 2
        assert rows(client, old).keys() == before.keys(), "the run before is kept whole"
        assert client.exists(old.artefact, old.sequences[0]) == 2


@pytest.mark.slow
def test_a_run_that_learned_badly_is_not_served_and_one_that_was_replaced_is_gone_back_to(
    config: Config, graphs: Path
) -> None:
    """The bad one hardly learns. It is served by order, then gone back from, and does not come back by itself."""
    wiring.event_log(config).append(encode_events(events()))
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        old = trainer.run_id
    good = config.log.dead_letters.parents[1] / "recsys.toml"
    bad = anew(config, graphs, "bad")
    bad.write_text(bad.read_text().replace("sparse_lr = 0.3", "sparse_lr = 1e-9\ndense_lr = 1e-9"))
    by_order = bad.with_name("order.toml")
    by_order.write_text(bad.read_text().replace("sparse_lr", 'take_over = "caught_up"\nsparse_lr'))

    def train(settings: Path) -> str:
        """To the end of the log; what the trainer then says of who is served."""
        with wiring.trainer(load(settings), publish=True) as trainer:
            trainer.resume()
            trainer.run(follow=False, stop=threading.Event())
        said = CliRunner().invoke(main, ["status", "-c", str(settings)]).output
        return " ".join(said.split())

    def rollback() -> str:
        result = CliRunner().invoke(main, ["rollback", "-c", str(good), "--why", "clicks fell"])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    with EmbeddedRedis(config.redis.folder) as server, server.client() as client:
        before = scores(config)
        assert f"of run {old}" in train(bad)
        assert "normalised entropy of its recent rows is at most 5% above" in train(bad)
        assert client.get(ModelKeys(wiring.ONLINE).served) == old.encode()
        assert scores(config) == before
        assert "is not served" not in train(by_order)
        new = cast(bytes, client.get(ModelKeys(wiring.ONLINE).served)).decode()
        assert new != old
        worse = scores(config)
        assert worse != before
        assert f"Run {old} of model 'online'" in rollback()
        assert scores(config) == before, "its rows with its graph"
        assert "has gone back from it: `recsys rollback` serves it again" in train(by_order)
        assert scores(config) == before
        assert f"Run {new} of model 'online'" in rollback()
        assert scores(config) == worse
        shown = CliRunner().invoke(main, ["versions", "-c", str(good), "--json"]).output
        assert [(one["run"], one["before"]) for one in json.loads(shown)["takeovers"]["online"]] == [
            (new, old),
            (old, new),
            (new, old),
        ]
        client.delete(ModelKeys(wiring.ONLINE, old).artefact)
        result = CliRunner().invoke(main, ["rollback", "-c", str(good)])
        assert result.exit_code != 0
        assert f"run {old} of model 'online' has left Redis" in " ".join(result.output.split())


MOMENTS = ("artefact", "row", "served")
"""Before which write of a publication that replaces another run the trainer is killed."""


def killed_in_publication(settings: Path, moment: str) -> None:
    """Train until `moment`: a key of the run, or the pointer to the run that servers follow."""
    config = load(settings)
    with wiring.trainer(config, publish=True) as trainer:
        keys = ModelKeys(wiring.ONLINE, trainer.run_id)
        name = {"row": keys.all_rows[:-1], "sequence": keys.sequences[0]}.get(moment) or getattr(keys, moment)

        class Killing(Pipeline):
            def execute_command(self, *command: Any, **options: Any) -> Any:
                if any(str(part).startswith(name) for part in command[1:2]) and command[0] != "GET":
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().execute_command(*command, **options)  # type: ignore[no-untyped-call]

        redis.client.Pipeline = Killing  # type: ignore[misc]
        trainer.run(follow=False, stop=threading.Event())


@pytest.mark.slow
def test_servers_are_right_whenever_the_trainer_is_killed_in_a_publication(config: Config, graphs: Path) -> None:
    """They follow the old run, whole, until the new one is, under the same graph and rows: never a mixture."""
    wiring.event_log(config).append(encode_events(events()))
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        old = trainer.run_id
    with EmbeddedRedis(config.redis.folder) as server, server.client() as client:
        before = scores(config)
        for moment in MOMENTS:
            run_until_killed(killed_in_publication, file := anew(config, graphs, moment), moment)
            assert client.get(ModelKeys(wiring.ONLINE).served) == old.encode()
            assert scores(config) == before
            client.delete(ModelKeys(wiring.ONLINE).lease)  # which ends by itself within 10 s
        with wiring.trainer(load(file), publish=True) as trainer:
            trainer.resume()
            trainer.run(follow=False, stop=threading.Event())
            new = trainer.run_id
        assert client.get(ModelKeys(wiring.ONLINE).served) == new.encode()
        assert scores(config) != before
        left = {key.split(b":")[2].decode() for key in cast(list[bytes], client.keys("recsys:online:*:*"))}
        assert left == {old, new}, "what the killed ones have left is gone"


def scores(config: Config) -> dict[str, float]:
    """What a server that starts now answers."""
    answering = wiring.local_ranking(config)
    try:
        answer = answering.rank(RankRequest(user="u1", items=["a", "b"], time=300_000))
    finally:
        answering.close()
    assert answer.degraded == ()
    return dict(zip(answer.shown.items, answer.shown.scores, strict=True))


def rows(client: RedisClient, keys: ModelKeys) -> dict[bytes, object]:
    return {key: client.get(key) for key in cast(list[bytes], client.keys(keys.all_rows))}
