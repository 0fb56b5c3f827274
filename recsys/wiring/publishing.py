"""The publisher to Redis, which is started if the configuration names none."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from recsys.config.schema import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serving.replication.embedded_redis import EmbeddedRedis
    from serving.replication.publish.lease import Holder
    from serving.replication.publish.publisher import Publisher


ONLINE = "online"
"""The model that the trainer publishes."""


@contextmanager
def publisher(
    config: Config, model: str = ONLINE, holder: Holder | None = None
) -> Iterator[tuple[Publisher, Callable[[], None]]]:
    """A publisher of `model` to the configured Redis, or to an embedded one that is started for it.

    The function beside it restarts an embedded Redis that is gone. With a `holder` it is the model's one publisher
    while the block runs; raises LeaseError if there is another.
    """
    from serving.replication.embedded_redis import connect
    from serving.replication.publish.lease import Lease
    from serving.replication.publish.publisher import Publisher

    def revive() -> None:
        if embedded is not None:  # any other Redis is restarted by its operator
            embedded.ensure()

    with ExitStack() as stack:
        embedded = stack.enter_context(running_redis(config))
        client = stack.enter_context(connect(config.redis.url, config.redis.folder))
        lease = None if holder is None else Lease(client, model, holder)
        if lease is not None:
            stack.enter_context(lease.kept())
        yield Publisher(client, model, precision=config.redis.precision, lease=lease), revive


@contextmanager
def running_redis(config: Config) -> Iterator[EmbeddedRedis | None]:
    """One use of the embedded Redis, started if it must be; None where the configuration names another."""
    from serving.replication.embedded_redis import EmbeddedRedis

    if config.redis.url:
        yield None
    else:
        with EmbeddedRedis(config.redis.folder) as embedded:
            yield embedded
