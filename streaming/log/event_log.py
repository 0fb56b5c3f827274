"""The event log: an append-only, partitioned record that many processes share.

Shape suffixes: N events of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.errors import InvalidValueError, LogError
from streaming.events.schema import EVENT_SCHEMA

Cursor = tuple[int, ...]
"""The next offset to read, per partition. Offsets rise; a log may skip some, so only the log can count by them."""

Decode = Callable[[Sequence[bytes], Sequence[int]], tuple[pa.RecordBatch, Sequence[tuple[int, str]]]]
"""From JSON values and their clocks (ms since the epoch) to the events (`EVENT_SCHEMA`), in order, and the refused
values: number and reason, in order. A log calls it for what other producers write."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of one partition."""

    partition: int
    offset: int
    """Where reading started: no event of the partition lies between it and the first of `events`."""
    events: pa.RecordBatch
    next_offsets_N: npt.NDArray[np.int64]
    """The offset to read from after each event. Rising; offsets need not be consecutive."""

    @staticmethod
    def consecutive(partition: int, offset: int, events: pa.RecordBatch) -> Chunk:
        """A chunk of a log whose offsets count events."""
        return Chunk(partition, offset, events, np.arange(offset + 1, offset + 1 + events.num_rows))

    @property
    def next_offset(self) -> int:
        """The offset to read from after the last event."""
        return int(self.next_offsets_N[-1]) if len(self.next_offsets_N) else self.offset

    def slice(self, start: int, count: int | None = None) -> Chunk:
        """At most `count` events from number `start` on."""
        stop = None if count is None else start + count
        offset = int(self.next_offsets_N[start - 1]) if start else self.offset
        events = self.events.slice(start, count)
        return Chunk(self.partition, offset, events, self.next_offsets_N[start:stop])

    def before(self, offset: int) -> Chunk:
        """The events that lie before `offset`."""
        return self.slice(0, int(np.searchsorted(self.next_offsets_N, offset, "right")))


class EventLog(Protocol):
    """Append-only log of events (`EVENT_SCHEMA`). Reading is repeatable; only `commit` moves a consumer's cursor."""

    @property
    def partitions(self) -> int: ...

    @property
    def identity(self) -> str:
        """Of this log, not of one made anew in its place, whose offsets name other events; "" where that is unknown."""
        ...

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        """Append and return the offset after the last event. On return, the events survive a kill -9.

        Raises InvalidValueError for another schema or partition. Raises AppendError when the events could not be
        stored; appending them again may store them twice. Readers recognise duplicates by id.
        """
        ...

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        """Events from `offset` on, at most `max_events`; an empty chunk at the end of the log.

        Raises InvalidValueError for an unknown partition, LogError when `offset` is before `begin` or after `end`.
        """
        ...

    def begin(self) -> Cursor:
        """The oldest events that are still there."""
        ...

    def end(self) -> Cursor:
        """Where the next events will be appended."""
        ...

    def unread(self, cursor: Cursor) -> int:
        """How many events there are from `cursor` on; 0 if and only if there is none.

        A log that cannot count without reading may estimate the number. Raises InvalidValueError for a cursor of
        another number of partitions.
        """
        ...

    def tail(self, events: int) -> Cursor:
        """Where to begin to read at least the last `events` events of each partition, or all that it has."""
        ...

    def drop_before(self, cursor: Cursor) -> None:
        """Allow the log to remove events before `cursor`; it may keep some. All others stay, offsets do not change.

        Raises InvalidValueError for a cursor of another number of partitions.
        """
        ...

    def wait(self, cursor: Cursor, timeout: float) -> bool:
        """Block until there is an event after `cursor`, at most `timeout` seconds; True when there is."""
        ...

    def commit(self, consumer: str, cursor: Cursor) -> None:
        """Remember `cursor` for `consumer`. A hint: a checkpoint owns the cursor that counts.

        Raises InvalidValueError for a cursor of another number of partitions.
        """
        ...

    def committed(self, consumer: str) -> Cursor | None: ...

    def close(self) -> None: ...


@runtime_checkable
class RefusingLog(Protocol):
    """A log to which others write, and which keeps what of it are no events."""

    def refused(self, most: int) -> list[dict[str, Any]]:
        """The newest `most` of these records, oldest first: `topic`, `partition`, `offset`, `reason`, and `raw`.

        Raises LogError when they cannot be read.
        """
        ...


def read_range(log: EventLog, partition: int, start: int, end: int) -> Iterator[Chunk]:
    """The events of a partition from offset `start` up to, not including, `end`."""
    while start < end and (chunk := log.read(partition, start, min(end - start, 65_536))).events.num_rows:
        yield chunk.before(end)
        start = chunk.next_offset


def read_partitions(log: EventLog) -> Iterator[Iterator[Chunk]]:
    """The events of each partition, in their order, as far as the log has them now."""
    for partition, (begin, end) in enumerate(zip(log.begin(), log.end(), strict=True)):
        yield read_range(log, partition, begin, end)


def consecutive_unread(log: EventLog, cursor: Cursor) -> int:
    """`unread` of a log whose offsets count events."""
    check_cursor(cursor, log.partitions)
    return sum(max(end - offset, 0) for end, offset in zip(log.end(), cursor, strict=True))


def consecutive_tail(log: EventLog, events: int) -> Cursor:
    """`tail` of a log whose offsets count events."""
    return tuple(max(begin, end - events) for begin, end in zip(log.begin(), log.end(), strict=True))


def check_schema(events: pa.RecordBatch) -> None:
    """Raises InvalidValueError when `events` do not have `EVENT_SCHEMA`."""
    if not events.schema.equals(EVENT_SCHEMA):
        raise InvalidValueError(f"events have schema {events.schema.names}, the log takes {EVENT_SCHEMA.names}")


def check_partition(partition: int, partitions: int, where: str) -> None:
    """Raises InvalidValueError when the log has no such partition."""
    if not 0 <= partition < partitions:
        raise InvalidValueError(f"partition {partition} is not one of the {partitions} of {where}")


def check_cursor(cursor: Cursor, partitions: int) -> None:
    """Raises InvalidValueError when `cursor` has another number of partitions."""
    if len(cursor) != partitions:
        raise InvalidValueError(f"the cursor {cursor} has {len(cursor)} partitions, the log has {partitions}")


def check_offset(
    partition: int, begin: int, offset: int, end: int, where: str, say: Callable[[int], str] = str
) -> None:
    """Raises LogError when `offset` is not between `begin` and `end`, with a remedy; `say` writes an offset."""
    if offset < begin:
        raise LogError(
            f"{where}: offset {say(offset)} of partition {partition} is before the oldest event kept, {say(begin)}; "
            "start from the log's begin, a trainer with another folder in [training] checkpoints, or restore the log "
            "that the cursor was taken from. [log] keep, or a topic's retention, must be longer than a reader's pause"
        )
    if offset > end:
        raise LogError(
            f"{where}: offset {say(offset)} of partition {partition} is after the log's end, {say(end)}; "
            "use the log that the cursor was taken from, or start from the log's begin"
        )
