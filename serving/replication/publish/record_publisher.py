"""Keeps counters and histories in Redis equal to those that the trainer has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from serving.replication.keys import tail
from serving.replication.publish.redis_writer import RedisWriter
from streaming.windows.record_changes import RecordChanges

EXPIRY = 30 * 86_400
"""Seconds that a record stays without a change: those of a layout that no model has any more go by themselves."""


class RecordPublisher:
    """Writes records. Models with the same layout share them: from one log they are the same."""

    def __init__(self, redis: RedisWriter) -> None:
        self._redis, self._names = redis, redis.client.names

    def apply(self, changes: RecordChanges) -> None:
        """Write records that changed and remove those of evicted entities; full changes replace everything."""
        layout, kind = changes.layout.key, changes.layout.kind
        self.replace(partial(self._names.counted, layout, kind), changes.records, changes.removed, full=changes.full)

    def replace(
        self, key: Callable[[str], str], records: Mapping[str, bytes], removed: Sequence[str], *, full: bool
    ) -> None:
        """Write `records` and remove those `removed`, by the name of which `key` makes a key; if `full`, all others."""
        names = [key(name) for name in records]
        self._redis.set_expiring(names, list(records.values()), EXPIRY)
        self._redis.unlink([key(name) for name in removed])
        if full:
            known = set(names)
            for page in self._redis.pages(self._names.every(tail(key("").encode()) + "*")):
                self._redis.unlink([name for name in map(bytes.decode, page) if name not in known])
