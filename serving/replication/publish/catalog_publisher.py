"""Puts the catalogue, popular and recent items, into Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from redis.client import Pipeline

from serving.replication.publish.redis_writer import RedisWriter


class CatalogPublisher:
    """Replaces the catalogue, unless it is as this publisher wrote it last. Raises as `RedisWriter` does."""

    def __init__(self, writer: RedisWriter) -> None:
        self._redis = writer
        self._written: Mapping[str, Mapping[str, float]] | None = None
        """What Redis has; None if that is not known."""

    def publish(self, popular: Sequence[tuple[str, float]], recent: Sequence[tuple[str, int]]) -> None:
        """Items with their popularity, and items with the time at which they were first seen (ms)."""
        names = self._redis.client.names
        catalog: dict[str, dict[str, float]] = {names.popular: dict(popular), names.recent: dict(recent)}
        if catalog != self._written:
            self.forget()
            self._redis.write(partial(_replace, catalog))
            self._written = catalog

    def forget(self) -> None:
        """Write it anew next time: Redis may have been emptied, or another trainer may have written it."""
        self._written = None


def _replace(sets: Mapping[str, Mapping[str, float]], pipe: Pipeline) -> None:
    for key, scores in sets.items():
        pipe.delete(key)
        if scores:
            pipe.zadd(key, scores)
