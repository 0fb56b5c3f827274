"""Latest features of users and items, as the trainer published them, kept for a moment in this process."""

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


class EntityFeatures:
    """Reads features by key from Redis; an answer is used again for `ttl` seconds, and longer while Redis is gone.

    At most `capacity` entities are kept: when there are more, all are forgotten. Safe for many threads.
    """

    def __init__(
        self, client: redis.Redis, ttl: float, capacity: int, clock: Callable[[], float], availability: Availability
    ) -> None:
        self._client = client
        self._ttl = ttl
        self._capacity = capacity
        self._clock = clock
        self._availability = availability
        self._known: dict[str, tuple[float, Features]] = {}
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

    def _read(self, wanted: list[str]) -> tuple[list[Features], bool]:
        now = self._clock()
        stale: tuple[float, Features] = (now, {})
        missing = [key for key in wanted if self._known.get(key, stale)[0] <= now]
        fresh = not missing or self._fetch(missing, now)
        return [self._known.get(key, stale)[1] for key in wanted], fresh

    def _fetch(self, missing: list[str], now: float) -> bool:
        if not self._availability.up:
            return False
        try:
            blobs = cast(list[bytes | None], self._client.mget(missing))
        except redis.RedisError:
            self._availability.up = False
            return False
        found = {
            key: (now + self._ttl, {} if blob is None else _decoder.decode(blob))
            for key, blob in zip(missing, blobs, strict=True)
        }
        with self._lock:
            if len(self._known) + len(found) > self._capacity:
                self._known = {}
            self._known.update(found)
        return True
