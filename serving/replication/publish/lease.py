"""At most one trainer publishes a model: a lease in Redis, which every write of its publisher checks and renews."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import msgspec
import redis
from redis.client import Pipeline

from recsys.errors import LeaseError
from serving.replication.connection.redis_client import Fill, RedisClient

LIFETIME = 10_000
"""Milliseconds until a lease expires that is not renewed, for example because its trainer was killed."""
_RENEW_EVERY = 2.0

_logger = logging.getLogger(__name__)


class Holder(msgspec.Struct, frozen=True):
    """The trainer that holds a lease.

    `token` tells trainers apart. A trainer that is started again may have the token of the one before if that is
    certain to have ended.
    """

    token: str
    host: str
    pid: int
    run: str
    since: int
    """When the trainer started, in milliseconds since the epoch."""

    @classmethod
    def here(cls, token: str, run: str) -> Holder:
        """This process, with the current time as its start."""
        return cls(token, socket.gethostname(), os.getpid(), run, time.time_ns() // 1_000_000)

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.since / 1000))
        return f"process {self.pid} on host {self.host} (run {self.run}, since {since} UTC)"


class Lease:
    """The right of `holder` to publish `model`. Every write and every renewal extends it by `LIFETIME`.

    A trainer that finds no lease takes it: at the start, and after Redis was emptied or lost its latest writes.
    """

    def __init__(self, client: RedisClient, model: str, holder: Holder) -> None:
        self._client = client
        self._model = model
        self._key = client.names.model(model).lease
        self._holder = holder
        self._value = msgspec.json.encode(holder)

    def transaction(self, fill: Fill = lambda _pipe: None, only_if: Mapping[str, bytes | None] | None = None) -> bool:
        """Take or renew the lease and run the commands that `fill` adds, in one transaction.

        They are left out if one of the keys in `only_if` has another value than there; returns whether they ran.
        Raises LeaseError, which names the holder and says what to do, if another trainer holds the lease, and
        redis.RedisError.
        """
        only_if = only_if or {}
        guarded = cast(Fill, partial(self._guarded, fill, only_if))
        return bool(self._client.transaction(guarded, self._key, *only_if, value_from_callable=True))

    def release(self) -> None:
        """Release the lease if this holder has it. Raises redis.RedisError."""
        self._client.transaction(self._end, self._key)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Take the lease, renew it in a thread during the block, then release it.

        Raises LeaseError if another trainer holds it. If Redis does not answer, the first write takes it.
        """
        try:
            self.transaction()
        except redis.RedisError as error:
            _logger.warning("model %r: no lease yet, the first publication takes it: %s", self._model, error)
        ended = threading.Event()
        thread = threading.Thread(target=self._renew_until, args=(ended,), name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._try(self.release)

    def _renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(_RENEW_EVERY):
            self._try(self.transaction)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (redis.RedisError, LeaseError) as error:  # the next write says so, too
            _logger.debug("model %r: %s", self._model, error)

    def _guarded(self, fill: Fill, only_if: Mapping[str, bytes | None], pipe: Pipeline) -> bool:
        # `pipe` is watching the keys, so it executes commands immediately until `multi`
        value = pipe.get(self._key)
        other = self._other(value)
        if other is not None:
            raise LeaseError(
                f"model {self._model!r} is being published by another trainer, {other}. Stop that one first, give this "
                f"one a Redis of its own ([redis] url or folder), or train with --no-publish. If that one was killed, "
                f"its lease ends within {LIFETIME // 1000} s"
            )
        holds = all(pipe.get(key) == expected for key, expected in only_if.items())
        pipe.multi()
        if value == self._value:
            pipe.pexpire(self._key, LIFETIME)  # which a Redis without room allows, too
        else:
            pipe.set(self._key, self._value, px=LIFETIME)
        if holds:
            fill(pipe)
        return holds

    def _end(self, pipe: Pipeline) -> None:
        held = pipe.get(self._key)
        pipe.multi()
        if held == self._value:
            pipe.delete(self._key)

    def _other(self, value: Any) -> Holder | None:
        """The holder that the lease names, if it is another trainer."""
        if value is None:
            return None
        holder = msgspec.json.decode(value, type=Holder)
        return None if holder.token == self._holder.token else holder
