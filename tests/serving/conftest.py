"""A real Redis for the tests of serving, one server for all, emptied for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis


@pytest.fixture(scope="session")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder):
        yield folder


@pytest.fixture
def client(redis_folder: Path) -> Iterator[RedisClient]:
    with EmbeddedRedis(redis_folder) as server, server.client() as connected:
        connected.flushall()
        yield connected
