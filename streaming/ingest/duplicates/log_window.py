"""The last events of a log, to recognise duplicates.

Shape suffixes: N events.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import KINDS, kinds
from streaming.ingest.duplicates.deduplication import RecentEvents
from streaming.ingest.duplicates.fingerprint import Contents, fingerprints
from streaming.log.event_log import Chunk, EventLog, read_range

Marks = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
"""Which events are new [N], and which have a known id with another content [N]; all others are duplicates."""


class LogWindow:
    """Knows kind, id and content of at least the last `window` events of `log`, by whatever writer.

    `observe` is called with all events that are read, at the start those of at least the last `tail` of each partition.
    """

    def __init__(
        self, log: EventLog, window: int, observe: Callable[[pa.RecordBatch, int], None] | None = None, tail: int = 0
    ) -> None:
        self._log = log
        self._recent = RecentEvents(window)
        self._observe = observe
        self._count = -(-window // log.partitions)
        self._tail = tail
        self._read: list[int] | None = None
        """The next offset to read of each partition; None before the first."""

    def catch_up(self) -> None:
        """Learn events appended since the last call; at first, those at the log's end. Raises LogError."""
        read = self._log.tail(max(self._count, self._tail)) if self._read is None else self._read
        self._read = [max(*offsets) for offsets in zip(self._log.begin(), read, strict=True)]
        many = self._log.unread(tuple(self._read)) > self._recent.capacity
        recent = self._log.tail(self._count) if many else tuple(self._read)
        for partition, stop in enumerate(self._log.end()):
            for chunk in read_range(self._log, partition, self._read[partition], stop):
                self._learn(chunk, recent[partition])
                self._read[partition] = chunk.next_offset

    def find(self, events: pa.RecordBatch) -> Marks:
        """Compare events (`EVENT_SCHEMA`) to those that are known, and to earlier ones among them."""
        return self._recent.find(*_identities(events))

    def add(self, events: pa.RecordBatch) -> Marks:
        """As `find`, and know them from now on."""
        return self._recent.add(*_identities(events))

    def appended(self, events: pa.RecordBatch, partition: int, end: int) -> None:
        """Know events that were appended, after which the partition ends at `end`."""
        if self._read is not None and self._read[partition] == end - events.num_rows:
            self.add(events)
            self._read[partition] = end
        # Otherwise another writer has appended, too, or offsets are not consecutive: `catch_up` reads them.

    def _learn(self, chunk: Chunk, recent: int) -> None:
        """Observe all events, know those from offset `recent` on."""
        if self._observe is not None:
            self._observe(chunk.events, chunk.partition)
        self.add(chunk.slice(int(np.searchsorted(chunk.next_offsets_N, recent, "right"))).events)


def clash(kind: int, name: str) -> str:
    """The reason to refuse an event whose id another one has."""
    return f"id: another {KINDS[kind]} has this id, {name!r}, with other content"


def _identities(events: pa.RecordBatch) -> tuple[npt.NDArray[np.uint8], list[str], Contents]:
    return kinds(events), events.column("id").to_pylist(), fingerprints(events)
