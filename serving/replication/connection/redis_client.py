"""The client that all parts use, of one project's keys.

It is redis-py's client of the server that has the keys that belong together. What is spread over the nodes of a cluster
is read and written by `mget`, `by_slot`, `write` and `nodes`, which know where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import redis
from redis.client import Pipeline

from serving.replication.keys import KeyNames

Fill = Callable[[Pipeline], Any]
"""Adds commands to a pipeline."""
Add = Callable[[list[str], Pipeline], Any]
"""Adds commands on some keys of one slot to a pipeline."""


class Guard(Protocol):
    """What every write runs in: the client alone, or a lease."""

    def transaction(self, fill: Fill, /) -> Any: ...


class RedisClient(redis.Redis):
    """Of one server, which has all keys."""

    names = KeyNames()
    """The keys of the project."""

    def nodes(self) -> Sequence[redis.Redis]:
        """Clients of the servers that have the project's keys, one for each."""
        return [self]

    def by_slot(self, names: list[str], add: Add) -> list[Any]:
        """Run what `add` adds for the keys of each slot; the replies, in the order of its calls."""
        with self.pipeline(transaction=False) as pipe:
            add(names, pipe)
            return pipe.execute()

    def write(self, names: list[str], add: Add, guard: Guard) -> None:
        """Run what `add` adds for these keys, in one transaction with the guard's commands."""
        guard.transaction(partial(add, names))
