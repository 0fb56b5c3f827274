"""Latest features of users and items, as the trainer published them, kept in this process until they change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
import redis

from serving import keys
from serving.availability import Availability
from streaming.events import Features

_decoder: msgspec.json.Decoder[Features] = msgspec.json.Decoder(Features)
_notice: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])


class EntityFeatures:
    """Reads features by key from Redis, and is the sink of the stream that names those that changed.

    An answer is used until its key is named, at most `ttl` seconds in case a notice was missed, and longer while Redis
    is gone. At most `capacity` entities are kept: when there are more, all are forgotten. Safe for many threads.
    """

    stream = keys.ENTITIES

    def __init__(
        self, client: redis.Redis, ttl: float, capacity: int, clock: Callable[[], float], availability: Availability
    ) -> None:
        self._client = client
        self._ttl = ttl
        self._capacity = capacity
        self._clock = clock
        self._availability = availability
        self._known: dict[str, tuple[float, Features]] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def user(self, name: str) -> tuple[Features, bool]:
        """Features of a user, and whether they are up to date."""
        (features,), fresh = self._read([keys.user(name)])
        return features, fresh

    def items(self, names: Sequence[str]) -> tuple[list[Features], bool]:
        """Features of items in this order, and whether all are up to date."""
        return self._read([keys.item(name) for name in names])

    def catch_up(self, client: redis.Redis, *, continued: bool) -> None:  # noqa: ARG002 - a sink's signature
        if not continued:
            with self._lock:
                self._changes += 1
                self._known = {key: (0.0, features) for key, (_, features) in self._known.items()}

    def take(self, client: redis.Redis, message: bytes) -> None:
        try:
            changed = _notice.decode(message)
        except msgspec.DecodeError:
            self.catch_up(client, continued=False)
            return
        with self._lock:
            self._changes += 1
            for key in changed:
                if key in self._known:
                    self._known[key] = (0.0, self._known[key][1])

    def _read(self, wanted: list[str]) -> tuple[list[Features], bool]:
        now = self._clock()
        nothing: tuple[float, Features] = (0.0, {})
        known = self._known
        found = [known.get(key, nothing) for key in wanted]
        missing = [key for key, (until, _) in zip(wanted, found, strict=True) if until <= now]
        if not missing:
            return [features for _, features in found], True
        fetched = self._fetch(missing, now)
        latest = {} if fetched is None else fetched
        features = [latest.get(key, old) for key, (_, old) in zip(wanted, found, strict=True)]
        return features, fetched is not None

    def _fetch(self, missing: list[str], now: float) -> dict[str, Features] | None:
        """Features by key; None when Redis is gone."""
        if not self._availability.up:
            return None
        changes = self._changes
        try:
            blobs = cast(list[bytes | None], self._client.mget(missing))
        except redis.RedisError:
            self._availability.up = False
            return None
        found = {key: {} if blob is None else _decoder.decode(blob) for key, blob in zip(missing, blobs, strict=True)}
        with self._lock:
            if changes == self._changes:  # else what was read may be older than the notice
                if len(self._known) + len(found) > self._capacity:
                    self._known = {}
                self._known.update((key, (now + self._ttl, features)) for key, features in found.items())
        return found
