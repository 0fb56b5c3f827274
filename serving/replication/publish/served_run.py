"""Chooses the run of a model that servers follow, and removes the others."""

from __future__ import annotations

from functools import partial
from typing import cast

from redis.client import Pipeline

from serving.replication import delta_messages
from serving.replication.keys import ModelKeys
from serving.replication.publish.redis_writer import RedisWriter, add_message
from serving.replication.shared_reads import served

KEPT = 60_000
"""How long (ms) a run that was replaced can still be read, so that servers replace it without a gap."""
_OUTLIVE = 15_000
"""Milliseconds between the expiry of a run for readers and of its rows, so that no row is missing while it is read."""


class ServedRun:
    """The writing side, for the run of `keys`. Raises PublishError and LeaseError as `RedisWriter` does."""

    def __init__(self, writer: RedisWriter, keys: ModelKeys) -> None:
        self._redis = writer
        self._keys = keys

    def other(self) -> str | None:
        """Another run that servers follow and that has a graph; None if this one is free to serve."""
        run = self._redis.do(lambda: served(self._redis.client, self._keys.model))
        if run is None or run == self._keys.run:
            return None
        artefact = self._keys.names.model(self._keys.model, run).artefact
        return run if self._redis.do(lambda: self._redis.client.exists(artefact)) else None

    def begin(self) -> None:
        """Register this run before its first row, and remove runs whose trainers ended before they were served."""
        self._redis.write(partial(_register, self._keys))
        kept = self._redis.do(lambda: served(self._redis.client, self._keys.model))
        for run in self._others():
            if run != kept:
                self._remove(run)

    def serve(self, version: str) -> None:
        """Let servers follow this run. Earlier runs are kept for a minute."""
        self._redis.write(partial(_point, self._keys, version))
        for run in self._others():
            self._retire(run)

    def _others(self) -> list[str]:
        runs = self._redis.do(lambda: cast(set[bytes], self._redis.client.smembers(self._keys.runs)))
        return sorted({run.decode() for run in runs} - {self._keys.run})

    def _remove(self, run: str) -> None:
        keys = self._keys.names.model(self._keys.model, run)
        self._redis.unlink([*keys.sequences, keys.artefact, keys.fallback, keys.vectors])
        for page in self._redis.pages(keys.all_rows):
            self._redis.unlink([key.decode() for key in page])
        self._redis.write(partial(_unregister, keys))

    def _retire(self, run: str) -> None:
        """Let Redis delete the run when it expires, even if this trainer ends immediately."""
        keys = self._keys.names.model(self._keys.model, run)
        self._redis.expire(keys.sequences, KEPT)
        self._redis.expire([keys.artefact, keys.fallback, keys.vectors], KEPT + _OUTLIVE)
        for page in self._redis.pages(keys.all_rows):
            self._redis.expire([key.decode() for key in page], KEPT + _OUTLIVE)
        self._redis.write(partial(_unregister, keys))


def _register(keys: ModelKeys, pipe: Pipeline) -> None:
    pipe.sadd(keys.runs, keys.run)


def _unregister(keys: ModelKeys, pipe: Pipeline) -> None:
    pipe.srem(keys.runs, keys.run)


def _point(keys: ModelKeys, version: str, pipe: Pipeline) -> None:
    pipe.sadd(keys.names.models, keys.model)
    pipe.set(keys.served, keys.run)
    add_message(pipe, keys.deltas, delta_messages.encode(delta_messages.NewArtefact(version)))
