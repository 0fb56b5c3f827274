"""A Redis whose memory is full: the trainer learns on and says it, servers answer, nothing is evicted or lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from recsys import wiring
from recsys.commands.demo.ports import free_port
from recsys.config.schema import Config
from recsys.training.trainer import Trainer
from serving.assembly import build
from serving.cache.row_store import Floats, Ids, RedisRows
from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.counters import ExperimentCounters
from serving.model.scorer import load_scorer
from serving.ranking.popularity import CatalogSnapshot
from serving.replication.connection.redis_client import RedisClient
from streaming.encode.encoder import Encoder
from streaming.events.schema import Impression
from streaming.ingest.codec import encode_events
from streaming.log.memory_log import MemoryLog
from tests.projects import SMALL, project
from tests.serving.api.asking import rank, ready
from tests.serving.redis_servers import RedisProcess, redis_server
from tests.serving.running import running
from tests.test_loop import events

pytestmark = pytest.mark.slow

ITEMS = [f"i{n}" for n in range(10)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    with redis_server(tmp_path / "redis", free_port(), "--maxmemory-policy", "noeviction") as started:
        yield started


@pytest.fixture
def config(server: RedisProcess, tmp_path: Path, graphs: Path) -> Config:
    redis = f'[redis]\nurl = "redis://127.0.0.1:{server.port}/0"\npublish_every = "50ms"\n'
    settings = f'{redis}{SMALL}[training]\nbatch_size = 64\nwait = "1m"\n[serving]\ndeadline = "30s"\n'
    return project(tmp_path, settings, events(), graphs)


def test_what_could_not_be_written_is_there_when_there_is_room(
    config: Config, server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with wiring.trainer(config, publish=True) as trainer, server.client as admin:
        trainer.run(follow=False, stop=threading.Event())
        app = build(wiring.server(config), MemoryLog(), partial(load_scorer, engine="openvino"))
        with running(app) as http:
            ready(http)
            admin.config_set("maxmemory", 1)
            keys = admin.dbsize()
            learned = trainer.learner.steps
            log = wiring.event_log(config)
            log.append(encode_events(events(600)[-400:]))
            log.close()
            with caplog.at_level(logging.WARNING):
                trainer.run(follow=False, stop=threading.Event())
            assert "not published, training goes on" in caplog.text
            assert "the memory of Redis is full" in caplog.text
            assert trainer.learner.steps > learned
            assert admin.dbsize() == keys, "nothing was evicted"
            assert rank(http, *ITEMS)["degraded"] == []

            admin.config_set("maxmemory", 0)
            trainer.run(follow=False, stop=threading.Event())
            assert read(config, trainer.run_id) == pytest.approx(known(config, trainer))


def test_what_servers_do_each_second_is_in_no_transaction(client: RedisClient) -> None:
    """Redis 7 refuses all of one when it is full, reads too; servers then took it for gone and ranked without rows."""
    own, other = (Experiment(name, (Arm("live", "online"),)) for name in ("own", "other"))
    shown = encode_events([Impression("n", 1, "u", ["a"], experiment="other", arm="live")])
    ExperimentCounters(client, [other]).count(shown)
    client.config_resetstat()
    CatalogSnapshot().refresh(client)
    ExperimentCounters(client, [own]).retain(client)
    asked = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert "pexpire" in asked
    assert not {"multi", "exec"} & asked


def read(config: Config, run: str) -> Floats:
    with wiring.redis_client(config) as client:
        store = RedisRows(client, wiring.ONLINE, {"item": config.features.dim}, run=run)
        return store.read({"item": numbers(config)})["item"].values_ND


def known(config: Config, trainer: Trainer) -> Floats:
    return trainer.learner.store.peek("item", numbers(config)).values_ND


def numbers(config: Config) -> Ids:
    encoded, _ = Encoder(wiring.spec(config)).encode_items(ITEMS, [{}] * len(ITEMS))
    return encoded["item"].values
