"""Which items belong to a set, from the records that the trainer publishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
import redis

from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability
from streaming.item_sets import Members

_members = msgspec.json.Decoder(Members)


class ItemSetMembers:
    """Reads records for every request, so that a withdrawn item is gone as soon as its withdrawal is published.

    Nothing while Redis does not answer. Raises msgspec.DecodeError when a record is not one. Thread-safe.
    """

    def __init__(self, client: RedisClient, availability: Availability) -> None:
        self._client, self._availability = client, availability

    def read(self, names: Sequence[str]) -> dict[str, Members]:
        """Available members of those of the sets that have any, those first that are in the fewest sets."""
        if not names or not self._availability.up:
            return {}
        try:
            found = self._client.mget([self._client.names.item_set(name) for name in names])
        except redis.RedisError:
            self._availability.up = False
            return {}
        records = zip(names, cast(list[bytes | None], found), strict=True)
        return {name: _members.decode(record) for name, record in records if record is not None}
