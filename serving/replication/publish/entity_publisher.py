"""Keeps the latest features of users and items in Redis equal to those that the trainer has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from serving.replication import delta_messages
from serving.replication.keys import tail
from serving.replication.publish.redis_writer import KEYS_PER_COMMAND, RedisWriter
from streaming.encode.entity_state import Changes
from streaming.events.schema import Features


class EntityPublisher:
    """Writes features before it announces them, so that no server caches features older than the announcement."""

    def __init__(self, redis: RedisWriter) -> None:
        self._redis, self._names = redis, redis.client.names

    def publish(self, users: Mapping[str, Features], items: Mapping[str, Features]) -> None:
        """Replace the latest features of these users and items."""
        encode = msgspec.json.encode
        pairs = {self._names.user(name): encode(features) for name, features in users.items()}
        pairs |= {self._names.item(name): encode(features) for name, features in items.items()}
        self._redis.set(list(pairs), list(pairs.values()))
        self._announce(list(users), list(items))

    def remove(self, users: Sequence[str], items: Sequence[str]) -> None:
        """Remove the features of these users and items."""
        self._redis.unlink([*map(self._names.user, users), *map(self._names.item, items)])
        self._announce(users, items)

    def apply(self, users: Changes, items: Changes) -> None:
        """Publish changed features and remove those of evicted entities; full changes replace everything in Redis."""
        self.publish(users.latest, items.latest)
        self.remove(users.removed, items.removed)
        if users.full:
            for names in self._others("user:", users.latest):
                self.remove(names, [])
        if items.full:
            for names in self._others("item:", items.latest):
                self.remove([], names)

    def _others(self, prefix: str, known: Collection[str]) -> Iterator[list[str]]:
        """Names that are in Redis but not in `known`, page by page."""
        for page in self._redis.pages(self._names.every(prefix + "*")):
            names = (tail(key)[len(prefix) :] for key in page)
            yield [name for name in names if name not in known]

    def _announce(self, users: Sequence[str], items: Sequence[str]) -> None:
        for kind, names in (("users", users), ("items", items)):
            for start in range(0, len(names), KEYS_PER_COMMAND):
                notice = delta_messages.EntityChange(**{kind: list(names[start : start + KEYS_PER_COMMAND])})
                self._redis.announce(self._names.entities, delta_messages.encode_entities(notice))
