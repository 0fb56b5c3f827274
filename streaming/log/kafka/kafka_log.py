"""An event log in a topic of Kafka, for many machines.

A record holds a batch of events (see `kept_texts`), an offset names an event in it (see `offsets`). Other producers may
write single events in JSON to the same topic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from recsys.errors import AppendError
from streaming.log.event_log import Chunk, Cursor, Decode, check_cursor, check_offset, check_partition, check_schema
from streaming.log.kafka.address import KafkaAddress
from streaming.log.kafka.connection import Connection, kafka_errors
from streaming.log.kafka.consumer_groups import ConsumerGroups
from streaming.log.kafka.dead_records import DeadRecords
from streaming.log.kafka.decoder import EMPTY, Decoder
from streaming.log.kafka.offsets import described, offset_of, split_offset
from streaming.log.kafka.reader import Reader
from streaming.log.kafka.records import records
from streaming.log.kafka.topic import Topic


class KafkaLog:
    """`EventLog` in a topic, which is made if it is not there; threads and processes may share it.

    `partitions` is for a new topic, unless the address has a number. Events for which `append` has returned are on all
    replicas in sync. Reading leaves aborted transactions out. `decode` is for records of other producers; those that it
    refuses go to a topic of dead letters, and reading continues.

    Raises LogError when no broker answers in time. Every `check_every` seconds that it is used it looks whether the
    topic is the same one, and raises LogError when it was made anew or has more partitions.
    """

    def __init__(
        self,
        address: KafkaAddress,
        decode: Decode,
        partitions: int | None = None,
        record_events: int = 16_384,
        check_every: float = 5.0,
    ) -> None:
        self.address = address
        self._record_events = record_events
        self._connection = Connection(address)
        with kafka_errors(address, "opening the log"):
            self._topic = Topic.opened(self._connection, partitions, check_every)
            self._reader = Reader(self._connection, self._topic.partitions)
        self._refused = DeadRecords(self._connection)
        self._decoder = Decoder(decode, self._refused)
        self._consumers = ConsumerGroups(self._connection, self._topic.partitions)
        self._lock = threading.RLock()  # kafka-python's consumer is for one thread at a time

    @property
    def partitions(self) -> int:
        return self._topic.partitions

    @property
    def identity(self) -> str:
        """The ids of the cluster and of the topic, which Kafka gave them."""
        return self._topic.identity

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        """Raises AppendError also when no broker answered in time: the events may be there or not."""
        check_schema(events)
        check_partition(partition, self.partitions, self.address.where)
        if not events.num_rows:
            return self.end()[partition]
        with kafka_errors(self.address, f"{events.num_rows} events not appended", AppendError):
            with self._lock:
                self._topic.check()
            send, topic = self._connection.producer.send, self.address.topic
            made = records(events, self._record_events)
            sent = [send(topic, one.value, headers=one.headers, partition=partition) for one in made]
            stored = [answer.get(self.address.timeout) for answer in sent]
        return offset_of(stored[-1].offset + 1)

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        check_partition(partition, self.partitions, self.address.where)
        with self._reading("reading"):
            self._topic.check()
            while found := self._peek(partition, offset):
                record, event = split_offset(offset)
                taken = self._decoder.take(found, event if found[0].offset == record else 0, max_events)
                if taken.events.num_rows:
                    return Chunk(partition, offset, taken.events, taken.next_offsets_N)
                self._reader.skip(partition, taken.records)
        return Chunk(partition, offset, EMPTY, np.zeros(0, np.int64))

    def begin(self) -> Cursor:
        with self._reading("looking for the oldest events"):
            return tuple(map(offset_of, self._reader.begins()))

    def end(self) -> Cursor:
        with self._reading("looking for the newest events"):
            self._topic.check()
            return tuple(map(offset_of, self._reader.ends()))

    def unread(self, cursor: Cursor) -> int:
        """Exact for what was fetched; beyond it, estimated from the records that were."""
        check_cursor(cursor, self.partitions)
        with self._reading("counting events"):
            self._topic.check()
            return self._reader.unread([split_offset(offset) for offset in cursor])

    def tail(self, events: int) -> Cursor:
        """Counts events from the end back, because no record says how many there are before it."""
        with self._reading("counting events"):
            places = enumerate(zip(self._reader.begins(), self._reader.ends(), strict=True))
            return tuple(offset_of(self._reader.tail(partition, *place, events)) for partition, place in places)

    def wait(self, cursor: Cursor, timeout: float) -> bool:
        """Raises LogError when the log ends before `cursor`, but not while no broker answers."""
        check_cursor(cursor, self.partitions)
        at = [split_offset(offset)[0] for offset in cursor]
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), 0)
            with self._reading("waiting for events"):
                if self._reader.wait(at, left):
                    return True
            if not left:
                return False

    def drop_before(self, cursor: Cursor) -> None:
        """Removes the records that lie before `cursor` as a whole."""
        check_cursor(cursor, self.partitions)
        with self._reading("removing events"):
            begins = self._reader.begins()
            asked = {partition: split_offset(offset)[0] for partition, offset in enumerate(cursor)}
            gone = {TopicPartition(self.address.topic, p): record for p, record in asked.items() if record > begins[p]}
            if gone:
                self._connection.retried(lambda: self._connection.admin.delete_records(gone))

    def retention(self) -> int | None:
        """How long (ms) the topic keeps records after they were appended; None for ever."""
        with self._reading("looking for its retention"):
            return self._topic.retention()

    def refused(self, most: int) -> list[dict[str, Any]]:
        with kafka_errors(self.address, "reading the dead letters"):
            return self._refused.newest(most)

    def commit(self, consumer: str, cursor: Cursor) -> None:
        check_cursor(cursor, self.partitions)
        with self._lock, kafka_errors(self.address, f"committing the cursor of {consumer}"):
            self._consumers.commit(consumer, cursor)

    def committed(self, consumer: str) -> Cursor | None:
        with self._lock, kafka_errors(self.address, f"looking for the cursor of {consumer}"):
            return self._consumers.committed(consumer)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _peek(self, partition: int, offset: int) -> Sequence[Any]:
        """Records from that of `offset` on, at least one unless the log ends there. Raises LogError elsewhere."""
        found = self._reader.peek(partition, split_offset(offset)[0]) if offset >= 0 else ()
        if not found and not 0 <= offset <= offset_of(self._reader.last_ends[partition]):
            self._check_offset(partition, offset)
        return found

    def _check_offset(self, partition: int, offset: int) -> None:
        begin, end = (offset_of(ends[partition]) for ends in (self._reader.begins(), self._reader.ends()))
        check_offset(partition, begin, offset, end, self.address.where, described)

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        with self._lock, kafka_errors(self.address, doing):
            try:
                yield
            except OffsetOutOfRangeError as error:
                self._topic.check(now=True)
                for place, record in error.args[0].items():
                    self._reader.forget(place.partition)
                    self._check_offset(place.partition, offset_of(record))
                raise
