"""Writing many keys to Redis, with retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar, cast

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.client import Pipeline
from redis.retry import Retry

from recsys.errors import PublishError
from serving.replication.connection.redis_client import Add, Fill, RedisClient
from serving.replication.delta_messages import FIELD
from serving.replication.publish.lease import Lease

KEYS_PER_COMMAND = 2048
_STREAM_LENGTH = 256
"""Messages kept on a stream; a server that is further behind empties its cache and reads again."""

_T = TypeVar("_T")


class RedisWriter:
    """Writes the keys of one model. Every method can be repeated.

    Raises PublishError when Redis does not answer after `retries` attempts with growing pauses, and LeaseError when
    another trainer has the `lease` under which it writes.
    """

    def __init__(self, client: RedisClient, model: str, retries: int = 3, lease: Lease | None = None) -> None:
        self.client = client
        self._model = model
        self._lease = lease
        self._retry = Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.02), retries)

    def do(self, command: Callable[[], _T]) -> _T:
        """Run one command and return its result."""
        try:
            return self._retry.call_with_retry(command, lambda _: None)
        except redis.RedisError as error:
            raise PublishError(f"model {self._model!r} cannot be published: {_reason(error)}") from error

    def write(self, fill: Fill) -> None:
        """Run the commands that `fill` adds to a pipeline in one transaction. It renews the lease, if there is one."""
        self.do(partial((self._lease or self.client).transaction, fill))

    def write_if(self, key: str, value: bytes | None, fill: Fill) -> bool:
        """As `write`, if the key has this value (None: is not there) then; returns whether it had."""
        if self._lease is not None:
            return self.do(partial(self._lease.transaction, fill, {key: value}))
        checked = cast(Fill, partial(_checked, key, value, fill))
        return bool(self.do(partial(self.client.transaction, checked, key, value_from_callable=True)))

    def set_one(self, name: str, value: bytes) -> None:
        """Write a key of those that are in one slot."""
        self.write(lambda pipe: pipe.set(name, value))

    def set(self, names: list[str], values: list[bytes]) -> None:
        """Write keys, wherever they are; so do the methods below."""
        self._write_each(names, partial(_mset, dict(zip(names, values, strict=True))))

    def set_expiring(self, names: list[str], values: list[bytes], seconds: int) -> None:
        """As `set`, for `seconds`."""
        self._write_each(names, partial(_set_each, dict(zip(names, values, strict=True)), seconds))

    def expire(self, names: list[str], after: int) -> None:
        """Let keys expire after so many milliseconds."""
        self._write_each(names, partial(_expire, after))

    def unlink(self, names: list[str]) -> None:
        self._write_each(names, _unlink)

    def announce(self, stream: str, message: bytes) -> None:
        """Add a message to a stream that servers follow."""

        self.write(lambda pipe: add_message(pipe, stream, message))

    def pages(self, pattern: str) -> Iterator[list[bytes]]:
        """Keys of a pattern, page by page; a key may occur twice."""
        for node in self.do(self.client.nodes):
            cursor = 0
            while True:
                cursor, page = self.do(partial(_scan, node, cursor, pattern))
                if page:
                    yield page
                if cursor == 0:
                    break

    def _write_each(self, names: list[str], add: Add) -> None:
        for start in range(0, len(names), KEYS_PER_COMMAND):
            part = names[start : start + KEYS_PER_COMMAND]
            self.do(partial(self.client.write, part, add, self._lease or self.client))


def _reason(error: redis.RedisError) -> str:
    """Without the command that redis-py shows, which may be a whole graph."""
    reason = str(error).rpartition(" of pipeline caused error: ")[2]
    if isinstance(error, redis.OutOfMemoryError):
        return f"the memory of Redis is full; all is published when there is room again: raise its maxmemory ({reason})"
    return reason


def add_message(pipe: Pipeline, stream: str, message: bytes) -> None:
    pipe.xadd(stream, {FIELD: message}, maxlen=_STREAM_LENGTH, approximate=True)


def _checked(key: str, value: bytes | None, fill: Fill, pipe: Pipeline) -> bool:
    holds = bool(pipe.get(key) == value)  # at once, because `pipe` is watching this key
    pipe.multi()
    if holds:
        fill(pipe)
    return holds


def _scan(node: redis.Redis, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
    return cast(tuple[int, list[bytes]], node.scan(cursor, match=pattern, count=2048))


def _mset(pairs: dict[str, bytes], names: list[str], pipe: Pipeline) -> None:
    pipe.mset({name: pairs[name] for name in names})


def _set_each(pairs: dict[str, bytes], seconds: int, names: list[str], pipe: Pipeline) -> None:
    for name in names:
        pipe.set(name, pairs[name], ex=seconds)


def _expire(after: int, names: list[str], pipe: Pipeline) -> None:
    for name in names:
        pipe.pexpire(name, after)


def _unlink(names: list[str], pipe: Pipeline) -> None:
    pipe.unlink(*names)
