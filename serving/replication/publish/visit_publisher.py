"""Keeps in Redis what users clicked last and which items are clicked together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from serving.replication.publish.record_publisher import RecordPublisher
from serving.replication.publish.redis_writer import RedisWriter
from streaming.co_visits import VisitChanges


class VisitPublisher:
    """Writes records of `streaming.co_visits`. Models share them, as they share the catalogue."""

    def __init__(self, redis: RedisWriter) -> None:
        self._records, self._names = RecordPublisher(redis), redis.client.names

    def apply(self, changes: Sequence[VisitChanges]) -> None:
        """Write records that changed, and remove those that are gone; full changes replace everything."""
        for one in changes:
            self._records.replace(partial(self._names.visited, one.kind), one.records, one.removed, full=one.full)
