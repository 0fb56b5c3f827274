"""What the trainer's side and the server's side both read in Redis. Functions raise redis.RedisError."""

from __future__ import annotations

from typing import cast

from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ModelKeys

ITEMS_PER_PAGE = 4096


def served(client: RedisClient, model: str) -> str | None:
    """The run of a model that servers follow; None if there is none yet."""
    value = cast(bytes | None, client.get(client.names.model(model).served))
    return None if value is None else value.decode()


def scan_vectors(client: RedisClient, keys: ModelKeys, cursor: int) -> tuple[int, dict[bytes, bytes]]:
    """The next place (0 at the end) and a page of vectors by item, in half precision."""
    return cast(tuple[int, dict[bytes, bytes]], client.hscan(keys.vectors, cursor, count=ITEMS_PER_PAGE))
