"""Latest features of users and items as published by the trainer, cached in this process until they change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import msgspec
import redis

from serving.replication.connection.redis_client import RedisClient
from serving.replication.delta_messages import decode_entities
from serving.replication.health import Availability
from streaming.events.schema import Features

_decoder: msgspec.json.Decoder[Features] = msgspec.json.Decoder(Features)


class EntityFeatures:
    """Reads features from Redis, and is the sink of the stream of notices.

    Features are used until a notice names their owner, and for at most `ttl` seconds in case a notice was missed;
    longer while Redis is unavailable. At most `capacity` users and `capacity` items are kept. Thread-safe.
    """

    def __init__(
        self, client: RedisClient, ttl: float, capacity: int, clock: Callable[[], float], availability: Availability
    ) -> None:
        self.stream = client.names.entities
        self._users = _Cached(client, client.names.user, ttl, capacity, clock, availability)
        self._items = _Cached(client, client.names.item, ttl, capacity, clock, availability)

    def __len__(self) -> int:
        return len(self._users) + len(self._items)

    def user(self, name: str) -> tuple[Features, bool]:
        """Features of a user, and whether they are up to date."""
        (features,), fresh = self._users.read([name])
        return features, fresh

    def items(self, names: Sequence[str]) -> tuple[list[Features], bool]:
        """Features of items in this order, and whether all are up to date."""
        return self._items.read(names)

    def catch_up(self, client: RedisClient, *, continued: bool) -> None:  # noqa: ARG002 - a sink's signature
        if not continued:
            self._users.invalidate_all()
            self._items.invalidate_all()

    def take(self, client: RedisClient, message: bytes) -> None:
        try:
            changed = decode_entities(message)
        except msgspec.DecodeError:
            self.catch_up(client, continued=False)
            return
        self._users.invalidate(changed.users)
        self._items.invalidate(changed.items)


class _Cached:
    """Features of one kind of entity by name, each with the time until which it is valid."""

    def __init__(
        self,
        client: RedisClient,
        key: Callable[[str], str],
        ttl: float,
        capacity: int,
        clock: Callable[[], float],
        availability: Availability,
    ) -> None:
        self._client = client
        self._key = key
        self._ttl = ttl
        self._capacity = capacity
        self._clock = clock
        self._availability = availability
        self._known: dict[str, tuple[float, Features]] = {}
        self._invalidations = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def read(self, names: Sequence[str]) -> tuple[list[Features], bool]:
        now = self._clock()
        nothing: tuple[float, Features] = (-1.0, {})
        known = self._known
        found = [known.get(name, nothing) for name in names]
        missing = [name for name, (until, _) in zip(names, found, strict=True) if until <= now]
        if not missing:
            return [features for _, features in found], True
        fetched = self._fetch(missing, now)
        latest = {} if fetched is None else fetched
        return [latest.get(name, old) for name, (_, old) in zip(names, found, strict=True)], fetched is not None

    def invalidate(self, names: Iterable[str]) -> None:
        """Read these again before their next use."""
        with self._lock:
            self._invalidations += 1
            for name in names:
                if name in self._known:
                    self._known[name] = (-1.0, self._known[name][1])

    def invalidate_all(self) -> None:
        self.invalidate(list(self._known))

    def _fetch(self, missing: list[str], now: float) -> dict[str, Features] | None:
        """Features by name; None when Redis is unavailable."""
        if not self._availability.up:
            return None
        invalidations = self._invalidations
        try:
            blobs = cast(list[bytes | None], self._client.mget([self._key(name) for name in missing]))
        except redis.RedisError:
            self._availability.up = False
            return None
        found = {n: {} if blob is None else _decoder.decode(blob) for n, blob in zip(missing, blobs, strict=True)}
        with self._lock:
            if invalidations == self._invalidations:  # else the values read may be older than the notice
                if len(self._known) + len(found) > self._capacity:
                    self._known = {}
                self._known.update((name, (now + self._ttl, features)) for name, features in found.items())
        return found
