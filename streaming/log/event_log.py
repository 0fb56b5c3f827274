"""The event log: an append-only, partitioned record that many processes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

Cursor = tuple[int, ...]
"""The next offset to read, per partition. An offset counts events from 0."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of one partition."""

    partition: int
    offset: int
    """Offset of the first event."""
    events: pa.RecordBatch

    @property
    def next_offset(self) -> int:
        return self.offset + int(self.events.num_rows)


class EventLog(Protocol):
    """Append-only log of events (`EVENT_SCHEMA`). Reading is repeatable; only `commit` moves a consumer's cursor."""

    @property
    def partitions(self) -> int: ...

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        """Append and return the offset after the last event. When it returns, the events survive a kill -9."""
        ...

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        """Events from `offset` on, at most `max_events`; an empty chunk at the end of the log."""
        ...

    def begin(self) -> Cursor:
        """The oldest events that are still there."""
        ...

    def end(self) -> Cursor:
        """Where the next events will be appended."""
        ...

    def wait(self, cursor: Cursor, timeout: float) -> bool:
        """Block until there is an event after `cursor`, at most `timeout` seconds; True when there is."""
        ...

    def commit(self, consumer: str, cursor: Cursor) -> None:
        """Remember `cursor` for `consumer`. A hint: a checkpoint owns the cursor that counts."""
        ...

    def committed(self, consumer: str) -> Cursor | None: ...

    def close(self) -> None: ...
