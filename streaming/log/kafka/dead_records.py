"""Refused records of a topic, in a compacted topic of their own: one for each place, however often it was read."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from streaming.log.kafka.connection import Connection

_logger = logging.getLogger(__name__)
_MOST_RAW = 8192
"""Bytes that are kept of a refused record."""
_COMPACTED = {"cleanup.policy": "compact"}


class DeadRecords:
    """Writes to TOPIC-dead-letters, with the key TOPIC/PARTITION/OFFSET. The topic is made when it is needed.

    All methods raise errors of Kafka's client.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._topic = connection.address.dead_letters
        self._made = False
        self._written: dict[int, int] = {}
        """By partition: the last place that was written since this object was made."""

    def write(self, refused: list[tuple[Any, str]]) -> None:
        """Records of one partition (`ConsumerRecord`), in order, with reasons; durable on return."""
        new = [(record, why) for record, why in refused if record.offset > self._written.get(record.partition, -1)]
        if not new:
            return
        if not self._made:
            self._make()
        producer = self._connection.producer
        sent = [producer.send(self._topic, key=_key(one).encode(), value=_letter(one, why)) for one, why in new]
        for answer in sent:
            answer.get(self._connection.address.timeout)
        last, why = new[-1]
        self._written[last.partition] = last.offset
        _logger.warning("%d records refused, in topic %s; the last, %s: %s", len(new), self._topic, _key(last), why)

    def newest(self, most: int) -> list[dict[str, Any]]:
        """The last `most` records of the topic, oldest first, each place once; any thread may call it."""
        with self._connection.another_consumer() as consumer:
            if not consumer.partitions_for_topic(self._topic):
                return []
            place = TopicPartition(self._topic, 0)
            consumer.assign([place])
            begin, end = consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]
            consumer.seek(place, max(begin, end - most))
            found: dict[bytes, dict[str, Any]] = {}
            deadline = time.monotonic() + self._connection.address.timeout
            while consumer.position(place) < end:
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"{self._topic} could not be read to its end")
                for record in consumer.poll(100).get(place, []):
                    found[record.key] = json.loads(record.value)
        return list(found.values())

    def _make(self) -> None:
        if self._connection.topic(self._topic) is None:
            self._connection.make_topic(self._topic, 1, _COMPACTED)
        self._made = True


def _key(record: Any) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _letter(record: Any, reason: str) -> bytes:
    raw = record.value or b""
    kept = raw[:_MOST_RAW]
    letter = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": record.timestamp,
        "reason": reason,
        "truncated": len(kept) < len(raw),
    }
    try:
        content = {"raw": kept.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        content = {"raw": base64.b64encode(kept).decode(), "encoding": "base64"}
    return json.dumps(letter | content, ensure_ascii=False).encode()
