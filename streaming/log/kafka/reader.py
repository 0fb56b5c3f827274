"""Reading records of a topic ahead, from any place in any partition."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from streaming.log.kafka.connection import Connection
from streaming.log.kafka.records import events_in

MOST_HELD = 8 << 20
"""Bytes of records of one partition beyond which no more are fetched."""
_RECENT = 1.0
"""Seconds for which the ends of partitions are recent enough to estimate what is unread."""
_SLICE = 0.1
"""Longest time in seconds that one poll holds the lock of a log."""
_STEP = 64
"""Records to go back at first, to find the last so many events."""


class _Held:
    """Records of one partition that were fetched and not read.

    There is none with events between `start` and the first of `records`; `next` is the offset to fetch from.
    """

    def __init__(self) -> None:
        self.records: deque[Any] = deque()
        self.start = self.next = -1
        self.bytes = self.events = 0

    def seek(self, record: int) -> None:
        self.records.clear()
        self.start = self.next = record
        self.bytes = self.events = 0

    def covers(self, record: int) -> bool:
        """Whether reading can continue from `record`; gives up those before it."""
        if not self.start <= record <= self.next:
            return False
        if self.records and self.records[0].offset < record:
            offsets = map(attrgetter("offset"), self.records)
            self.drop(sum(1 for _ in takewhile(record.__gt__, offsets)))
            self.start = record
        return True

    def begins_with(self, record: int) -> bool:
        return bool(self.records) and bool(self.records[0].offset == record)

    def add(self, records: Sequence[Any]) -> None:
        self.records.extend(records)
        self.next = records[-1].offset + 1
        self.bytes += _bytes(records)
        self.events += _events(records)

    def drop(self, count: int) -> None:
        gone = [self.records.popleft() for _ in range(count)]
        self.bytes -= _bytes(gone)
        self.events -= _events(gone)


class Reader:
    """Records as they are, transactions that were aborted left out. One thread at a time.

    All methods raise errors of Kafka's client.
    """

    def __init__(self, connection: Connection, partitions: int) -> None:
        address = connection.address
        self._connection = connection
        self._consumer = connection.consumer
        self._timeout = address.timeout
        self._partitions = [TopicPartition(address.topic, partition) for partition in range(partitions)]
        self._held = [_Held() for _ in self._partitions]
        self._consumer.assign(self._partitions)
        for partition in self._partitions:
            self._consumer.seek(partition, 0)
        self._consumer.pause(*self._partitions)  # until they are read
        self._asked = 0.0
        self.last_ends = [0] * partitions
        """What `ends` was when it was last asked."""

    def begins(self) -> list[int]:
        """The oldest record of each partition."""
        return self._asked_for(self._consumer.beginning_offsets)

    def ends(self) -> list[int]:
        """The record after the last one of each partition whose transaction is not open."""
        self.last_ends = self._asked_for(self._consumer.end_offsets)
        self._asked = time.monotonic()
        return self.last_ends

    def peek(self, partition: int, record: int) -> Sequence[Any]:
        """Records from `record` on, at least one unless there is none. They stay until `peek` asks for later ones."""
        held = self._at(partition, record)
        if held.records:
            return held.records
        if (end := self.last_ends[partition]) <= held.next:  # else there is more, as it is known
            end = self.ends()[partition]
        deadline = time.monotonic() + self._timeout
        while not held.records and held.next < end:
            self._poll(_SLICE)
            if time.monotonic() > deadline and not held.records:
                raise KafkaTimeoutError
        return held.records

    def skip(self, partition: int, count: int) -> None:
        """Pass over records that have no events: reading before them goes on after them."""
        self._held[partition].drop(count)

    def forget(self, partition: int) -> None:
        """Fetch no more of a partition before it is read again, such as from a place that is not there."""
        self._held[partition].seek(-1)
        self._consumer.pause(self._partitions[partition])

    def wait(self, records: Sequence[int], timeout: float) -> bool:
        """Whether there is a record from one of `records`, by partition, on; waits for at most a part of `timeout`."""
        held = [self._at(partition, record) for partition, record in enumerate(records)]
        if not any(one.records for one in held):
            self._poll(min(timeout, _SLICE))
        return any(one.records for one in held)

    def unread(self, places: Sequence[tuple[int, int]]) -> int:
        """Events from (record, event), by partition, on; 0 if and only if there is none.

        Those that were fetched are counted; those beyond are estimated, as if records were alike. The ends of all
        partitions are asked for at once, and again only when they are old or nothing is at hand.
        """
        held = [self._at(partition, record) for partition, (record, _) in enumerate(places)]
        if not any(one.records for one in held) or time.monotonic() - self._asked > _RECENT:
            self.ends()
        deadline = time.monotonic() + self._timeout
        while not any(one.records for one in held) and any(map(_is_behind, held, self.last_ends)):
            if time.monotonic() > deadline:
                raise KafkaTimeoutError
            self._poll(_SLICE)
        events, records = sum(one.events for one in held), sum(len(one.records) for one in held)
        beyond = sum(max(end - one.next, 0) for end, one in zip(self.last_ends, held, strict=True))
        passed = sum(event for one, (record, event) in zip(held, places, strict=True) if one.begins_with(record))
        return events + (beyond * events // records if records else 0) - passed

    def tail(self, partition: int, begin: int, end: int, events: int) -> int:
        """The record from which on the partition has at least so many events up to `end`; else `begin`."""
        at, step, counted = end, _STEP, 0
        while at > begin and counted < events:
            start = max(begin, at - step)
            counted += self._between(partition, start, at)
            at, step = start, 2 * step
        return at

    def _between(self, partition: int, start: int, stop: int) -> int:
        counted = 0
        while start < stop and (records := self.peek(partition, start)):
            counted += sum(_events_in(record) for record in records if record.offset < stop)
            start = records[-1].offset + 1
        return counted

    def _at(self, partition: int, record: int) -> _Held:
        held, of = self._held[partition], self._partitions[partition]
        if not held.covers(record):
            held.seek(record)
            self._consumer.seek(of, record)
        if held.bytes < MOST_HELD:
            self._consumer.resume(of)
        return held

    def _poll(self, timeout: float) -> None:
        """Take what comes within `timeout` seconds; nothing while no broker answers."""
        try:
            self._fetch(timeout)
        except KafkaError as error:
            if not error.retriable:
                raise
            time.sleep(timeout)

    def _fetch(self, timeout: float) -> None:
        for of, records in self._consumer.poll(max(int(timeout * 1000), 1)).items():
            held = self._held[of.partition]
            held.add(records)
            if held.bytes >= MOST_HELD:
                self._consumer.pause(of)
        for of, held in zip(self._partitions, self._held, strict=True):
            if not held.records and held.start >= 0:
                held.next = self._consumer.position(of)  # which moves past what transactions leave

    def _asked_for(self, offsets: Callable[[list[TopicPartition], int], dict[TopicPartition, int]]) -> list[int]:
        found = self._connection.retried(lambda: offsets(self._partitions, self._timeout * 1000))
        return [found[partition] for partition in self._partitions]


def _is_behind(held: _Held, end: int) -> bool:
    return held.next < end


def _bytes(records: Sequence[Any]) -> int:
    return sum(map(attrgetter("serialized_value_size"), records))


def _events(records: Sequence[Any]) -> int:
    if not any(map(attrgetter("headers"), records)):  # of another producer, one event each: there may be very many
        return len(records)
    return sum(map(_events_in, records))


def _events_in(record: Any) -> int:
    count = events_in(record)
    return 1 if count is None else count
