"""One experiment, end to end: simulated users, a real HTTP server, the event log, the verdict beside the truth."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embedding.store import Delta, TableDelta
from recsys.client import Client
from recsys.simulation.habits import Habits
from recsys.simulation.platform import ServedLists
from recsys.simulation.simulation import Simulation, Truth
from recsys.simulation.user_model import DAY, PlantedUsers
from serving.api.messages.operator_schemas import ExperimentsResponse
from serving.assembly import build
from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.log_summary import log_summary
from serving.experiments.summary import ArmSummary, ExperimentSummary
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.log.event_log import read_partitions
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import ready, stored
from tests.serving.fakes import SPEC, Graphs, artefact, ids, rows
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow
MODEL = PlantedUsers(260, 30, seed=3)
ONE_ITEM = Habits(shown=1, visits=8.0)
"""So that the clicks of the truth are clicked lists."""
DAYS = 0.5


def publish(client: RedisClient) -> None:
    """As popular what users like most, and a model that ranks it last."""
    likes_I = np.mean([MODEL.likes(user, 0.0) for user in range(len(MODEL.users))], axis=0)
    publisher = Publisher(client, "online")
    publisher.publish_catalog(list(zip(MODEL.items, likes_I.tolist(), strict=True)), [])
    items, _ = Encoder(SPEC).encode_items(list(MODEL.items), [{}] * len(MODEL.items))
    change = TableDelta(items["item"].values, rows(*(-likes_I).tolist()), ids())
    publisher.publish(Delta(1, True, {"item": change}))
    publisher.publish_artefact(artefact())


def experiment(folder: Path, second: str) -> tuple[Truth, ExperimentSummary, ExperimentSummary]:
    """The truth of arms `best` and `other`, which ranks by `second`; what the log says, and what the server said."""
    both = Experiment("ab", (Arm("best", "popularity"), Arm("other", second)))
    start, log = time.time_ns() // 1_000_000 - round(DAYS * DAY * 1000), MemoryLog()
    with EmbeddedRedis(folder) as redis, redis.client() as connected:
        publish(connected)
        settings = Settings(redis_folder=folder, experiments=(both,), deadline=60_000)
        with running(build(settings, log, Graphs())) as app, Client(str(app.base_url), timeout=120.0) as client:
            ready(app)
            served = ServedLists(MODEL, client)
            simulation = Simulation(MODEL, ONE_ITEM, served, start, seed=1)
            for _ in simulation.run(DAYS * DAY):
                pass
            served.close()
            truth = simulation.truth
            until(lambda: len([one for one in stored(log) if hasattr(one, "arm")]) == truth.visits)
            answer = msgspec.json.decode(app.get("/v1/experiments").content, type=ExperimentsResponse)
    counts = LogCounts(both, start, start)
    for chunks in read_partitions(log):
        counts.begin_partition()
        for chunk in chunks:
            counts.count(chunk.events)
    return truth, log_summary(both, counts, start, start).summary, answer.experiments[0]


def counted(arms: list[ArmSummary]) -> dict[str, tuple[int, int]]:
    return {arm.name: (arm.impressions, arm.clicks) for arm in arms}


@pytest.mark.parametrize(
    ("second", "verdict"), [("popularity", "no difference shown"), ("online", "worse")], ids=["equal", "planted"]
)
def test_the_verdict_is_the_truth(tmp_path: Path, second: str, verdict: str) -> None:
    truth, by_log, by_server = experiment(tmp_path / "redis", second)
    happened = {name: (arm.lists, arm.clicks) for name, arm in truth.arms.items()}
    assert counted(by_log.arms) == counted(by_server.arms) == happened
    assert sum(arm.users for arm in by_log.arms) <= len(MODEL.users)
    for arm in by_log.arms:
        low, high = arm.interval
        assert low <= truth.value(arm.name) <= high
        assert 0.0 < high - low < 0.5
    (compared,) = by_log.comparisons
    low, high = compared.interval
    assert low <= truth.value("other") - truth.value("best") <= high
    assert by_log.sample_ratio_ok
    assert compared.verdict == verdict
