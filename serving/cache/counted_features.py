"""Features that the stream computes, from the records of counters and histories that the trainer publishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import redis

from serving.replication.connection.redis_client import RedisClient
from serving.replication.health import Availability
from streaming.events.schema import Features, Value
from streaming.windows.counter_layout import CounterLayout, RecordReader
from streaming.windows.history_layout import HistoryLayout, HistoryReader
from streaming.windows.part import of_request, record_names
from streaming.windows.streamed_source import ENTITIES, StreamedSource

_TTL = 1.0
"""Seconds for which an item's record is used again."""
_CAPACITY = 50_000
"""Most records of items that are kept."""


class CountedFeatures:
    """Values of `sources` for requests, by the name of the source, as of the request's time.

    Records of users and pairs are read for every request, those of items at most once a second. While Redis does not
    answer, the records of items that are known are used, and all else counts nothing. Thread-safe.
    """

    def __init__(
        self,
        client: RedisClient,
        sources: Sequence[StreamedSource],
        clock: Callable[[], float],
        availability: Availability,
    ) -> None:
        self._client, self._clock, self._availability = client, clock, availability
        self._readers: list[RecordReader | HistoryReader] = []
        self._items: dict[str, tuple[float, bytes | None]] = {}
        for entity in ENTITIES:
            if own := [source for source in sources if source.record == entity]:
                self._readers.append(RecordReader(CounterLayout.of(entity, own), own))
                self._readers[-1].values([None], 0)  # loads compiled code before the first request
        if own := [source for source in sources if source.record == "history"]:
            self._readers.append(HistoryReader(HistoryLayout.of(own), own))

    def read(self, user: str, items: Sequence[str], time: int) -> tuple[Features, dict[str, list[Value]], bool]:
        """Features of the user and of the items, and whether all are up to date."""
        if not self._readers:
            return {}, {}, True
        wanted = [self._wanted(reader, user, items) for reader in self._readers]
        fetched, fresh = self._fetch([key for names in wanted for key in names])
        features: Features = {}
        item_features: dict[str, list[Value]] = {}
        for reader, names in zip(self._readers, wanted, strict=True):
            values = reader.values([fetched.get(key) for key in names], time)
            if of_request(reader.layout.kind):
                features |= {name: column[0] for name, column in values.items()}
            else:
                item_features |= values
        return features, item_features, fresh

    def _wanted(self, reader: RecordReader | HistoryReader, user: str, items: Sequence[str]) -> list[str]:
        layout = reader.layout
        return [
            self._client.names.counted(layout.key, layout.kind, name) for name in record_names(layout.kind, user, items)
        ]

    def _fetch(self, wanted: list[str]) -> tuple[dict[str, bytes | None], bool]:
        """Records by key, and whether all are up to date."""
        now = self._clock()
        found = {key: kept for key in wanted if (kept := self._items.get(key)) is not None}
        missing = [key for key in wanted if key not in found or found[key][0] <= now]
        records = {key: record for key, (_, record) in found.items()}
        if not missing:
            return records, True
        if not self._availability.up:
            return records, False
        try:
            blobs = cast(list[bytes | None], self._client.mget(missing))
        except redis.RedisError:
            self._availability.up = False
            return records, False
        fetched = dict(zip(missing, blobs, strict=True))
        if len(self._items) + len(fetched) > _CAPACITY:
            self._items = {}
        self._items.update((key, (now + _TTL, record)) for key, record in fetched.items() if _of_item(key))
        return records | fetched, True


def _of_item(key: str) -> bool:
    return key.split(":", 4)[3] == "item"
