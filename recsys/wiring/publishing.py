"""The publisher to Redis, which is started if the configuration names none."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from recsys.config.schema import Config
from serving.replication.keys import ONLINE

__all__ = ["ONLINE", "publisher", "redis_client", "running_redis"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serving.replication.connection.redis_client import RedisClient
    from serving.replication.embedded_redis import EmbeddedRedis
    from serving.replication.publish.lease import Holder
    from serving.replication.publish.publisher import Publisher


@contextmanager
def publisher(
    config: Config, model: str = "", holder: Holder | None = None
) -> Iterator[tuple[Publisher, Callable[[], None]]]:
    """A publisher of `model` (empty: as `[training] publish_as` says) to the configured Redis, or to an embedded one
    that is started for it.

    The function beside it restarts an embedded Redis that is gone. With a `holder` it is the model's one publisher
    while the block runs; raises LeaseError if there is another.
    """
    from serving.replication.connection.server_settings import warn
    from serving.replication.publish.lease import Lease
    from serving.replication.publish.publisher import Publisher

    def revive() -> None:
        if embedded is not None:  # any other Redis is restarted by its operator
            embedded.ensure()

    model = model or config.training.publish_as
    with ExitStack() as stack:
        embedded = stack.enter_context(running_redis(config))
        client = stack.enter_context(redis_client(config))
        lease = None if holder is None else Lease(client, model, holder)
        if lease is not None:
            warn(client)
            stack.enter_context(lease.kept())
        kept_in = None if holder is None else config.training.checkpoints
        made = Publisher(
            client,
            model,
            precision=config.redis.precision,
            lease=lease,
            kept_in=kept_in,
            keep_run=config.training.keep_run,
        )
        yield made, revive


def redis_client(config: Config, timeout: float = 5.0) -> RedisClient:
    """A client of the configured Redis, or of the embedded one that must be running; of the project's keys."""
    from serving.replication.embedded_redis import connect

    return connect(config.redis.url, config.redis.folder, timeout, config.project.name)


@contextmanager
def running_redis(config: Config) -> Iterator[EmbeddedRedis | None]:
    """One use of the embedded Redis, started if it must be; None where the configuration names another."""
    from serving.replication.embedded_redis import EmbeddedRedis

    if config.redis.url:
        yield None
    else:
        with EmbeddedRedis(config.redis.folder) as embedded:
            yield embedded
