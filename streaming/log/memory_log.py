"""An event log in memory, for tests and for replays that need no file."""

from __future__ import annotations

import threading
from bisect import bisect_right

import pyarrow as pa

from streaming.events.schema import EVENT_SCHEMA
from streaming.log.event_log import (
    Chunk,
    Cursor,
    check_cursor,
    check_offset,
    check_partition,
    check_schema,
    consecutive_tail,
    consecutive_unread,
)

_WHERE = "the log in memory"


class MemoryLog:
    """`EventLog` of one process; threads may share it."""

    identity = ""

    def __init__(self, partitions: int = 1) -> None:
        self._batches: list[list[pa.RecordBatch]] = [[] for _ in range(partitions)]
        self._offsets: list[list[int]] = [[0] for _ in range(partitions)]  # where each batch begins, and the end
        self._committed: dict[str, Cursor] = {}
        self._grown = threading.Condition()

    @property
    def partitions(self) -> int:
        return len(self._batches)

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        check_schema(events)
        check_partition(partition, self.partitions, _WHERE)
        with self._grown:
            if events.num_rows:
                self._batches[partition].append(events)
                self._offsets[partition].append(self._offsets[partition][-1] + events.num_rows)
                self._grown.notify_all()
            return self._offsets[partition][-1]

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        check_partition(partition, self.partitions, _WHERE)
        with self._grown:
            offsets = self._offsets[partition]
            check_offset(partition, offsets[0], offset, offsets[-1], _WHERE)
            if offset == offsets[-1]:
                return Chunk.consecutive(partition, offset, pa.RecordBatch.from_pylist([], EVENT_SCHEMA))
            i = bisect_right(offsets, offset) - 1
            events = self._batches[partition][i].slice(offset - offsets[i], max_events)
        return Chunk.consecutive(partition, offset, events)

    def begin(self) -> Cursor:
        return tuple(offsets[0] for offsets in self._offsets)

    def end(self) -> Cursor:
        return tuple(offsets[-1] for offsets in self._offsets)

    def unread(self, cursor: Cursor) -> int:
        return consecutive_unread(self, cursor)

    def tail(self, events: int) -> Cursor:
        return consecutive_tail(self, events)

    def drop_before(self, cursor: Cursor) -> None:
        """Removes the appended batches that lie before `cursor` as a whole."""
        check_cursor(cursor, self.partitions)
        with self._grown:
            for batches, offsets, offset in zip(self._batches, self._offsets, cursor, strict=True):
                gone = max(0, bisect_right(offsets, offset) - 1)
                del batches[:gone], offsets[:gone]

    def wait(self, cursor: Cursor, timeout: float) -> bool:
        def grown() -> bool:
            return any(end > offset for end, offset in zip(self.end(), cursor, strict=True))

        with self._grown:
            return self._grown.wait_for(grown, timeout)

    def commit(self, consumer: str, cursor: Cursor) -> None:
        check_cursor(cursor, self.partitions)
        self._committed[consumer] = cursor

    def committed(self, consumer: str) -> Cursor | None:
        return self._committed.get(consumer)

    def close(self) -> None:
        """Nothing to release."""
