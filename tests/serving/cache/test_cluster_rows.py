"""Rows in a Redis Cluster of three nodes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from embedding.store import Delta, TableDelta
from recsys.errors import RowsUnavailableError
from serving.cache.row_store import RedisRows
from serving.replication.connection.redis_client import RedisClient
from serving.replication.connection.server_settings import inspect
from serving.replication.embedded_redis import connect
from serving.replication.promoter import Promoter
from serving.replication.publish.publisher import Publisher
from serving.replication.publish.served_run import KEEP
from serving.replication.shared_reads import served
from serving.replication.takeovers import Takeover
from tests.serving.cache.test_row_store import TestRedisRows as OfOneServer
from tests.serving.fakes import DIM, artefact, ids, rows
from tests.serving.redis_servers import Cluster, redis_cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def client(cluster: Cluster) -> Iterator[RedisClient]:
    cluster.flush()
    with connect(cluster.url) as connected:
        yield connected


class TestClusterRows(OfOneServer):
    """The same contract."""


def test_rows_are_spread_evenly_and_removed_with_their_model(cluster: Cluster, client: RedisClient) -> None:
    many = np.random.default_rng(7).integers(0, 2**64, 6000, np.uint64)
    publisher = Publisher(client, "m")
    publisher.publish(Delta(1, True, {"item": TableDelta(many, rows(*range(6000)), ids())}))
    held = [len(list(node.scan_iter(client.names.every("m:row:*")))) for node in client.nodes()]
    assert sum(held) == 6000
    assert max(held) < 1.25 * min(held)
    publisher.publish(Delta(2, True, {"item": TableDelta(many[:5], rows(*range(5)), ids())}))
    assert sum(len(list(node.scan_iter(client.names.every("m:row:*")))) for node in client.nodes()) == 5


def test_no_row_is_read_of_a_run_of_which_a_node_lost_its_part(client: RedisClient) -> None:
    publisher = Publisher(client, "m")
    publisher.begin("aa")
    publisher.publish(Delta(1, True, {"item": TableDelta(ids(1, 2), rows(1, 2), ids())}))
    store = RedisRows(client, "m", {"item": DIM}, run="aa")
    assert store.read({"item": ids(1)})["item"].found_N.all()
    client.nodes()[1].flushall()
    with pytest.raises(RowsUnavailableError, match="its trainer restores them"):
        store.read({"item": ids(1)})


def test_a_cluster_that_is_gone_is_said_so() -> None:
    gone = RedisRows(connect("redis+cluster://127.0.0.1:1,127.0.0.1:2"), "m", {"item": DIM})
    with pytest.raises(RowsUnavailableError, match="no node of the Redis cluster answers"):
        gone.read({"item": ids(1)})


def test_a_node_that_is_taken_for_a_server_of_its_own_is_warned_of(cluster: Cluster, client: RedisClient) -> None:
    assert [one.warning for one in inspect(client)] == [""] * 3
    with connect(cluster.url.replace("redis+cluster://", "redis://").split(",")[0]) as alone:
        assert "redis+cluster://" in inspect(alone)[0].warning


def test_each_node_is_described_by_its_address(cluster: Cluster, client: RedisClient) -> None:
    addresses = sorted(f"127.0.0.1:{node.port}" for node in cluster.nodes)
    assert [one.address for one in inspect(client)] == addresses
    assert [str(one).partition(": ")[0] for one in inspect(client)] == addresses


def test_a_run_is_taken_over_gone_back_to_and_removed_on_every_node(client: RedisClient) -> None:
    """Its rows are on all nodes, what points to it on one."""
    clock, many = [0], np.random.default_rng(7).integers(0, 2**64, 300, np.uint64)

    def publish(run: str, value: float) -> Publisher:
        publisher = Publisher(client, "m", now=lambda: clock[0])
        publisher.begin(run)
        publisher.publish_artefact(artefact(step=1))
        publisher.publish(Delta(1, True, {"item": TableDelta(many, rows(*[value] * 300), ids())}))
        publisher.take_over(run)
        return publisher

    def values() -> set[float]:
        store = RedisRows(client, "m", {"item": DIM}, run=served(client, "m") or "")
        return set(store.read({"item": many})["item"].values_ND[:, 0].tolist())

    publish("aa", 1.0)
    publish("bb", 2.0)
    assert values() == {2.0}
    promoter = Promoter(client)
    (last,) = promoter.takeovers("m")
    promoter.go_back(promoter.candidate("m", last.before), Takeover("aa", "bb", 0, "ada@here", rolled_back=True))
    assert values() == {1.0}
    newest = publish("cc", 3.0)
    left = {key.split(b":")[2] for node in client.nodes() for key in node.scan_iter(client.names.every("m:*:row:*"))}
    assert left == {b"aa", b"cc"}
    clock[0] += KEEP
    newest.publish_status({})
    left = {key.split(b":")[2] for node in client.nodes() for key in node.scan_iter(client.names.every("m:*:row:*"))}
    assert (left, values()) == ({b"cc"}, {3.0})
