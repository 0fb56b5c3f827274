"""An event log in memory, for tests and for replays that need no file."""

from __future__ import annotations

import threading
from bisect import bisect_right

import pyarrow as pa

from streaming.events.schema import EVENT_SCHEMA
from streaming.log.event_log import Chunk, Cursor


class MemoryLog:
    """`EventLog` of one process; threads may share it."""

    def __init__(self, partitions: int = 1) -> None:
        self._batches: list[list[pa.RecordBatch]] = [[] for _ in range(partitions)]
        self._offsets: list[list[int]] = [[0] for _ in range(partitions)]
        self._committed: dict[str, Cursor] = {}
        self._grown = threading.Condition()

    @property
    def partitions(self) -> int:
        return len(self._batches)

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        if not events.schema.equals(EVENT_SCHEMA):
            raise ValueError(f"events have schema {events.schema.names}, the log takes {EVENT_SCHEMA.names}")
        self._check(partition)
        with self._grown:
            if events.num_rows:
                self._batches[partition].append(events)
                self._offsets[partition].append(self._offsets[partition][-1] + events.num_rows)
                self._grown.notify_all()
            return self._offsets[partition][-1]

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        self._check(partition)
        offsets = self._offsets[partition]
        if not 0 <= offset <= offsets[-1]:
            raise ValueError(
                f"offset {offset} of partition {partition} is not in the log, which holds 0 to {offsets[-1]}"
            )
        if offset == offsets[-1]:
            return Chunk(partition, offset, pa.RecordBatch.from_pylist([], EVENT_SCHEMA))
        i = bisect_right(offsets, offset) - 1
        return Chunk(partition, offset, self._batches[partition][i].slice(offset - offsets[i], max_events))

    def begin(self) -> Cursor:
        return (0,) * self.partitions

    def end(self) -> Cursor:
        return tuple(offsets[-1] for offsets in self._offsets)

    def wait(self, cursor: Cursor, timeout: float) -> bool:
        def grown() -> bool:
            return any(end > offset for end, offset in zip(self.end(), cursor, strict=True))

        with self._grown:
            return self._grown.wait_for(grown, timeout)

    def commit(self, consumer: str, cursor: Cursor) -> None:
        if len(cursor) != self.partitions:
            raise ValueError(f"the cursor {cursor} is not of {self.partitions} partitions")
        self._committed[consumer] = cursor

    def committed(self, consumer: str) -> Cursor | None:
        return self._committed.get(consumer)

    def close(self) -> None:
        """Nothing to release."""

    def _check(self, partition: int) -> None:
        if not 0 <= partition < self.partitions:
            raise ValueError(f"partition {partition} is not one of {self.partitions}")
