"""What a user clicked last and what is clicked together with it, from the records that the trainer publishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import msgspec
import redis

from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability

Neighbours = list[tuple[str, float]]
"""Items, each with its affinity, best first."""
_items = msgspec.json.Decoder(list[str])
_neighbours = msgspec.json.Decoder(Neighbours)


class VisitedItems:
    """Reads records for every request, so that a withdrawn item is gone as soon as its withdrawal is published.

    Nothing while Redis does not answer. Raises msgspec.DecodeError when a record is not one. Thread-safe.
    """

    def __init__(self, client: RedisClient, availability: Availability) -> None:
        self._client, self._availability = client, availability

    def read(self, user: str) -> dict[str, Neighbours]:
        """Neighbours of the items that the user clicked last, the latest first, without items that are gone."""
        (own,) = self._records([user], self._client.names.visited_user)
        return self.neighbours([] if own is None else _items.decode(own))

    def neighbours(self, names: Sequence[str]) -> dict[str, Neighbours]:
        """Neighbours of each of these items, without items that are gone, or that nothing is clicked together with."""
        records = self._records(names, self._client.names.visited_item)
        return {name: _neighbours.decode(one) for name, one in zip(names, records, strict=True) if one is not None}

    def _records(self, names: Sequence[str], key: Callable[[str], str]) -> list[bytes | None]:
        if not names or not self._availability.up:
            return [None] * len(names)
        try:
            return cast(list[bytes | None], self._client.mget([key(name) for name in names]))
        except redis.RedisError:
            self._availability.up = False
            return [None] * len(names)
