"""Servers and a publisher over a Redis Cluster, and over a master that Sentinel watches, whose node is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.crc import key_slot

from embedding.store import Delta, TableDelta
from recsys.errors import OutOfStepError, PublishError
from serving.assembly import build
from serving.process_settings import Settings
from serving.replication.connection.cluster import ClusterClient
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import connect
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import rank, ready, shown
from tests.serving.fakes import SPEC, Graphs, artefact, ids, rows
from tests.serving.redis_servers import RedisProcess, redis_cluster, replicated_redis
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow


@dataclass
class Tier:
    url: str
    victim: Callable[[RedisClient], RedisProcess]
    """The master to kill."""
    flush: Callable[[], None]


@pytest.fixture(params=["cluster, the node of what belongs together", "cluster, another node", "sentinel"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    kind: str = request.param
    if kind == "sentinel":
        with replicated_redis(tmp_path) as replicated:
            yield Tier(replicated.url, lambda _: replicated.master, replicated.flush)
        return
    with redis_cluster(tmp_path, replicas=3) as cluster:

        def victim(client: RedisClient) -> RedisProcess:
            home = key_slot(client.names.promotions.encode()) * 3 // 16384
            return cluster.nodes[home if kind.endswith("together") else (home + 1) % 3]

        yield Tier(cluster.url, victim, cluster.flush)


@dataclass
class Trainer:
    """Publishes as `Publication` of the trainer does: it goes on after a failure, and writes all where it must."""

    publisher: Publisher
    sequence: int = 0
    failures: list[Exception] = field(default_factory=list)

    def publish(self, scores: dict[str, float]) -> bool:
        full = not self.sequence or (bool(self.failures) and isinstance(self.failures[-1], OutOfStepError))
        items, _ = Encoder(SPEC).encode_items(list(scores), [{}] * len(scores))
        change = TableDelta(items["item"].values, rows(*scores.values()), ids())
        try:
            self.publisher.publish(Delta(self.sequence + 1, full, {"item": change}))
            if full:
                self.publisher.publish_artefact(artefact())
        except (PublishError, OutOfStepError) as error:
            self.failures.append(error)
            return False
        self.sequence += 1
        return True


def scores(best: int) -> dict[str, float]:
    """Of a hundred items, so that each node has rows; one is the best."""
    return {f"i{n}": 0.5 if n == best else -n / 1000 for n in range(100)}


def ask(app: httpx.Client, users: Iterator[int]) -> dict[str, Any]:
    """Every answer is one (`rank` asserts status 200); a user who is new, so that rows are read."""
    return rank(app, *scores(0), user=f"user {next(users)}")


def converges(app: httpx.Client, users: Iterator[int], best: int) -> None:
    def right() -> bool:
        answer = ask(app, users)
        return not answer["degraded"] and shown(answer)[0] == f"i{best}"

    until(right)


def test_servers_answer_while_a_master_fails_over_and_follow_the_trainer(tier: Tier) -> None:
    users = count()
    with ExitStack() as stack:
        client = stack.enter_context(connect(tier.url))
        trainer = Trainer(Publisher(client, "online"))
        trainer.publisher.begin("aa")
        assert trainer.publish(scores(1))
        app = ready(stack.enter_context(running(build(_settings(tier.url), MemoryLog(), Graphs()))))
        converges(app, users, 1)

        victim = tier.victim(client)
        victim.kill()
        assert victim.process.poll() is not None
        degraded = until(lambda: ask(app, users)["degraded"])
        assert degraded == ["rows"] or "features" in degraded
        until(lambda: trainer.publish(scores(2)) or not ask(app, users))
        assert trainer.failures, "nothing was published while no master answered"
        converges(app, users, 2)

        trainer.failures.clear()
        tier.flush()
        until(lambda: trainer.publish(scores(3)))
        assert isinstance(trainer.failures[-1], OutOfStepError)
        converges(app, users, 3)


def test_what_a_node_lost_alone_is_published_again(tmp_path: Path) -> None:
    """As a failover to a replica that had not everything: the other nodes still have the latest."""
    with redis_cluster(tmp_path) as cluster, connect(cluster.url) as client:
        trainer = Trainer(Publisher(client, "online"))
        trainer.publisher.begin("aa")
        assert trainer.publish(scores(1))
        keys = client.names.model("online", "aa")
        values = dict(zip(keys.sequences, client.mget(keys.sequences), strict=True))
        assert trainer.publish(scores(2))
        behind = keys.sequences[7]
        client.by_slot([behind], lambda names, pipe: pipe.set(names[0], values[names[0]]))
        assert not trainer.publish(scores(3))
        assert isinstance(trainer.failures[-1], OutOfStepError)
        assert trainer.publish(scores(3))
        assert len(set(client.mget(keys.sequences))) == 1
        assert isinstance(client, ClusterClient)
        assert all(node.dbsize() > 20 for node in client.nodes()), "rows are on all nodes"


def _settings(url: str) -> Settings:
    return Settings(redis_url=url, deadline=60_000, cache_rows=1000)
