"""Which run of a model took the place of which: a list in Redis, the newest last. Functions raise redis.RedisError."""

from __future__ import annotations

from typing import cast

import msgspec
from redis.client import Pipeline

from recsys.errors import PromotionError
from serving.replication import delta_messages
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ModelKeys
from serving.replication.publish.redis_writer import add_message

MOST = 20
"""Entries kept of a model."""


class Takeover(msgspec.Struct, frozen=True):
    """Servers left the run `before` for `run`, with rows and graph."""

    run: str
    before: str
    at: int
    """Milliseconds since the epoch."""
    by: str
    """Who, as user@host; or its trainer."""
    why: str = ""
    rolled_back: bool = False
    """Whether this went back to a run that was served before."""


def takeovers(client: RedisClient, model: str) -> list[Takeover]:
    """All that are kept, the oldest first. Raises PromotionError if another version wrote them."""
    entries = cast(list[bytes], client.lrange(client.names.model(model).takeovers, 0, -1))
    try:
        return [msgspec.json.decode(entry, type=Takeover) for entry in entries]
    except msgspec.DecodeError as error:
        raise PromotionError(
            f"which runs of model {model!r} were served is written by another version of recsys: use that one, or "
            f"update this: {error}"
        ) from error


def last_takeover(client: RedisClient, model: str) -> Takeover | None:
    """The newest; None if there is none, or another version wrote it."""
    entry = cast(bytes | None, client.lindex(client.names.model(model).takeovers, -1))
    try:
        return None if entry is None else msgspec.json.decode(entry, type=Takeover)
    except msgspec.DecodeError:
        return None


def point(keys: ModelKeys, version: str, entry: Takeover | None, pipe: Pipeline) -> None:
    """Let servers follow the run of `keys`, whose graph is `version`, and keep the entry."""
    pipe.sadd(keys.names.models, keys.model)
    pipe.set(keys.served, keys.run)
    if entry is not None:
        pipe.rpush(keys.takeovers, msgspec.json.encode(entry))
        pipe.ltrim(keys.takeovers, -MOST, -1)
    add_message(pipe, keys.deltas, delta_messages.encode(delta_messages.NewArtefact(version)))
