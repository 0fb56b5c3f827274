"""The Redis that promotions are kept in."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import RedisServerError
from serving.replication.connection.redis_client import RedisClient
from serving.replication.promoter import Promoter
from serving.replication.trainer_status import TrainerStatus, TrainerStatuses

_TIMEOUT = 5.0


@contextmanager
def promotions(config: Config) -> Iterator[tuple[Promoter, RedisClient]]:
    """The record, and a client beside it. Raises RedisServerError if Redis does not answer."""
    try:
        with wiring.running_redis(config), wiring.redis_client(config, _TIMEOUT) as client:
            yield Promoter(client), client
    except redis.RedisError as error:
        where = "of [redis] url" if config.redis.url else f"in {config.redis.folder}"
        raise RedisServerError(f"the Redis {where} does not answer, nothing was changed: {error}") from error


def status_of(client: RedisClient, model: str) -> TrainerStatus | None:
    """What the trainer of a model said last; None of a model without one. Raises redis.RedisError."""
    statuses = TrainerStatuses([model])
    statuses.refresh(client)
    return statuses.by_model.get(model)


def who() -> str:
    """The person at this command."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
