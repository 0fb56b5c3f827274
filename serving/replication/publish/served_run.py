"""Chooses the run of a model that servers follow, keeps the one before it for a while, and removes the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from redis.client import Pipeline

from serving.replication import trainer_status
from serving.replication.keys import ModelKeys
from serving.replication.publish.redis_writer import RedisWriter
from serving.replication.shared_reads import served
from serving.replication.takeovers import Takeover, last_takeover, point

KEEP = 86_400_000
"""How long (ms) the run before stays whole in Redis unless it is said otherwise, so that it can be gone back to."""
SWAP = 60_000
"""Milliseconds in which servers leave a run: it stays at least as long."""
_SWEEP_EVERY = 60_000


@dataclass(frozen=True, slots=True)
class Rival:
    """The run that servers follow instead of this one."""

    run: str
    figures: Mapping[str, Any]
    """By task, what its trainer said last of its recent rows; empty if it said nothing."""
    gone_back: Takeover | None
    """How servers left this run for it, if somebody has gone back."""


class ServedRun:
    """The writing side, for the run of `keys`; `now` gives milliseconds. Raises PublishError and LeaseError as
    `RedisWriter` does."""

    def __init__(self, writer: RedisWriter, keys: ModelKeys, now: Callable[[], int], keep: int = KEEP) -> None:
        self._redis = writer
        self._keys = keys
        self._now = now
        self._keep = max(keep, SWAP)
        self._swept = -_SWEEP_EVERY

    def other(self) -> str | None:
        """Another run that servers follow and that has a graph; None if this one is free to serve."""
        return self._other(self._served())

    def _other(self, run: str | None) -> str | None:
        if run is None or run == self._keys.run:
            return None
        return run if self._redis.do(lambda: self._redis.client.exists(self._of(run).artefact)) else None

    def rival(self) -> Rival | None:
        """What is known of the `other` run."""
        run = self.other()
        if run is None:
            return None
        said = self._redis.do(lambda: cast(bytes | None, self._redis.client.get(self._of(run).figures)))
        last, status = self._last(), trainer_status.decode(said)
        gone_back = last if last is not None and last.rolled_back and last.before == self._keys.run else None
        return Rival(run, {} if status is None else status.status.get("tasks", {}), gone_back)

    def begin(self) -> None:
        """Register this run before its first row, and remove those that nobody can serve or go back to."""
        self._redis.write(partial(_register, self._keys))
        self._sweep()

    def serve(self, version: str, why: str = "", over: str | None = None) -> bool:
        """Let servers follow this run, and tell them of its graph. The run before is kept, earlier ones are removed.

        If they have left the run `over`, where it is given, nothing happens and the answer is False.
        """
        followed = self._served()
        before, entry = self._other(followed), None
        if over is not None and before != over:
            return False
        if before is not None:
            entry = Takeover(self._keys.run, before, self._now(), "its trainer", why)
        done = self._point(followed, version, entry)
        if done and before is not None:
            self._sweep()
        return done

    def renew(self, version: str) -> None:
        """Tell servers of a graph of this run, unless they follow another one by now."""
        followed = self._served()
        if self._other(followed) is None:
            self._point(followed, version, None)

    def _point(self, followed: str | None, version: str, entry: Takeover | None) -> bool:
        """Nothing is done if servers have left `followed`, as after `recsys rollback`: who goes back is obeyed."""
        known = None if followed is None else followed.encode()
        return self._redis.write_if(self._keys.served, known, partial(point, self._keys, version, entry))

    def sweep(self) -> None:
        """Remove runs whose time is up, if none were looked for in the last minute."""
        if self._now() >= self._swept + _SWEEP_EVERY:
            self._sweep()

    def _sweep(self) -> None:
        self._swept = self._now()
        last, followed = self._last(), self._served()
        kept = {self._keys.run, followed}
        if last is not None and last.run == followed and self._now() < last.at + self._keep:
            kept.add(last.before)
        runs = self._redis.do(lambda: cast(set[bytes], self._redis.client.smembers(self._keys.runs)))
        for run in sorted({one.decode() for one in runs} - kept):
            self._remove(run)

    def _remove(self, run: str) -> None:
        """Its graph first, unless servers follow it again by now: nobody goes back to a run without one."""
        keys = self._of(run)
        self._redis.do(lambda: self._redis.client.transaction(partial(_leave, keys), keys.served))
        if self._served() == run:
            return
        self._redis.unlink([*keys.sequences, keys.fallback, keys.vectors, keys.figures])
        for page in self._redis.pages(keys.all_rows):
            self._redis.unlink([key.decode() for key in page])
        self._redis.write(partial(_unregister, keys))

    def _of(self, run: str) -> ModelKeys:
        return self._keys.names.model(self._keys.model, run)

    def _served(self) -> str | None:
        return self._redis.do(lambda: served(self._redis.client, self._keys.model))

    def _last(self) -> Takeover | None:
        return self._redis.do(lambda: last_takeover(self._redis.client, self._keys.model))


def _register(keys: ModelKeys, pipe: Pipeline) -> None:
    pipe.sadd(keys.runs, keys.run)


def _unregister(keys: ModelKeys, pipe: Pipeline) -> None:
    pipe.srem(keys.runs, keys.run)


def _leave(keys: ModelKeys, pipe: Pipeline) -> None:
    followed = pipe.get(keys.served)  # at once, because `pipe` is watching this key
    pipe.multi()
    if followed != keys.run.encode():
        pipe.delete(keys.artefact)
