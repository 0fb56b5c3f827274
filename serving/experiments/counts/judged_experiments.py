"""What `recsys experiments` found by the log, in Redis, so that servers show the same without reading the log."""

from __future__ import annotations

import msgspec

from serving.experiments.log_summary import LogSummary
from serving.replication.connection.redis_client import RedisClient


class JudgedExperiments(msgspec.Struct, frozen=True):
    """The figures of all experiments that the log knew of, and when (ms since the epoch) they were read from it."""

    at: int
    experiments: list[LogSummary]


def publish_judged(client: RedisClient, judged: JudgedExperiments) -> None:
    """Replace what was published before. Raises redis.RedisError when Redis does not answer."""
    client.set(client.names.judged, msgspec.json.encode(judged))


def published_judged(client: RedisClient) -> JudgedExperiments | None:
    """None if nothing is published, or by another version. Raises redis.RedisError when Redis does not answer."""
    stored = client.get(client.names.judged)
    if not isinstance(stored, bytes):
        return None
    try:
        return msgspec.json.decode(stored, type=JudgedExperiments)
    except msgspec.MsgspecError:
        return None
