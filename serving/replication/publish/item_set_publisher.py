"""Keeps in Redis which items belong to a set."""

from __future__ import annotations

from serving.replication.keys import tail
from serving.replication.publish.redis_writer import RedisWriter
from streaming.item_sets import SetChanges


class ItemSetPublisher:
    """Writes records of `streaming.item_sets`. Models share them, as they share features of items. They stay."""

    def __init__(self, redis: RedisWriter) -> None:
        self._redis, self._names = redis, redis.client.names

    def apply(self, changes: SetChanges) -> None:
        """Write sets that changed, and remove those that are gone; full changes replace everything."""
        written = {self._names.item_set(name): record for name, record in changes.records.items()}
        self._redis.set(list(written), list(written.values()))
        self._redis.unlink([self._names.item_set(name) for name in changes.removed])
        if changes.full:
            for page in self._redis.pages(self._names.every(tail(self._names.item_set("").encode()) + "*")):
                self._redis.unlink([key for key in map(bytes.decode, page) if key not in written])
