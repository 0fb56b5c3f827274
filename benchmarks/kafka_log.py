"""A log in Kafka against kafka-python alone, which moves the same batches: what our code adds to appending and reading.

Both sides talk to one real broker on this machine, in turn, on connections that are open before and have the same
settings. The peer is what one would write in a few lines: each batch is one message in Arrow's format, compressed with
LZ4; it knows no partitions, cursors, dead letters or versions. `single` reads JSON messages of another producer, an
event each, checked and decoded into columns; there the peer only receives them, without a look inside. Seconds are CPU
time of this process, in which the client has a thread of its own, but not the broker. Needs Java 17 and Maven.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from kafka import TopicPartition

from benchmarks import _events
from benchmarks.harness import Result, Target, interleave, median, ratio
from deploy.kafka.broker import PACKAGES, Broker, missing
from recsys.errors import InvalidValueError
from streaming.events.schema import EVENT_SCHEMA
from streaming.ingest.codec import decode_lines
from streaming.ingest.foreign_values import decode_values
from streaming.log.kafka.address import KafkaAddress
from streaming.log.kafka.connection import Connection
from streaming.log.kafka.kafka_log import KafkaLog
from streaming.log.kafka.records import BYTES_HEADER

BATCH = 8192
"""Events of one append, and of one record."""
REPEATS = 4
"""Times that the batches are read, which are read much faster than single messages."""
CODEC = pa.Codec("lz4")


def run(quick: bool) -> Result:
    if lacking := missing():
        raise InvalidValueError(f"{' and '.join(lacking)} not found; install {PACKAGES}")
    count = 10 * BATCH if quick else 40 * BATCH
    lines = [line for line in _events.lines(count * 51 // 50) if line.endswith(b"}")][:count]
    with _broker() as broker:
        seconds = _measured(broker, lines, rounds=3 if quick else 7)
    times = {"raw read": REPEATS, "read": REPEATS}
    rate = {name: times.get(name, 1) * count / median(rounds) for name, rounds in seconds.items()}
    targets = [
        Target("of kafka-python's rate, appending batches", ratio(seconds["raw append"], seconds["append"]), 0.8),
        Target("of kafka-python's rate, reading batches", ratio(seconds["raw read"], seconds["read"]), 0.8),
        Target("of kafka-python's rate, reading single JSON", ratio(seconds["raw single"], seconds["single"]), 0.7),
    ]
    size = sum(map(len, lines)) / count
    raw = {"seconds": seconds, "events": count, "bytes_per_event": size, "mix": _events.MIX, "events_per_s": rate}
    return Result("kafka_log", targets, raw)


@contextmanager
def _broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            yield broker
        finally:
            broker.kill()


def _measured(broker: Broker, lines: list[bytes], rounds: int) -> dict[str, list[float]]:
    """Seconds by contender to move all events once."""
    starts, now = range(0, len(lines), BATCH), _events.NOW + len(lines)
    batches = [decode_lines(lines[start : start + BATCH], now)[0] for start in starts]
    written, appended, single = (_open(broker) for _ in range(3))
    for _ in range(REPEATS):
        _append(written, batches)
    _send(single.address, lines)
    raw_written, raw_appended, raw_single = (_Raw(log.address) for log in (written, appended, single))
    contenders = {
        "raw append": lambda: raw_appended.append(batches),
        "append": lambda: _append(appended, batches),
        "raw read": lambda: raw_written.read_batches(REPEATS * len(lines)),
        "read": lambda: _read(written, REPEATS * len(lines)),
        "raw single": lambda: raw_single.read(len(lines)),
        "single": lambda: _read(single, len(lines)),
    }
    seconds = interleave(contenders, rounds)
    for one in (written, appended, single, raw_written, raw_appended, raw_single):
        one.close()
    return seconds


def _open(broker: Broker) -> KafkaLog:
    """A log in a new topic."""
    return KafkaLog(KafkaAddress.parse(f"//{broker.address}/{uuid.uuid4().hex}"), decode_values, 1, BATCH)


def _append(log: KafkaLog, batches: list[pa.RecordBatch]) -> None:
    for batch in batches:
        log.append(batch)


def _read(log: KafkaLog, count: int) -> None:
    offset = found = 0
    while found < count:
        chunk = log.read(0, offset)
        found, offset = found + chunk.events.num_rows, chunk.next_offset


def _send(address: KafkaAddress, messages: list[bytes]) -> None:
    raw = _Raw(address)
    for message in messages:
        raw.producer.send(address.topic, message, partition=0)
    raw.producer.flush()
    raw.close()


class _Raw:
    """kafka-python alone, with the settings of our clients."""

    def __init__(self, address: KafkaAddress) -> None:
        self._connection, self._place = Connection(address), TopicPartition(address.topic, 0)
        self.producer, self._consumer = self._connection.producer, self._connection.consumer
        self._consumer.assign([self._place])

    def append(self, batches: list[pa.RecordBatch]) -> None:
        for batch in batches:
            raw = batch.serialize()
            headers = [("bytes", b"%d" % raw.size)]
            message = CODEC.compress(raw, asbytes=True)
            self.producer.send(self._place.topic, message, headers=headers, partition=0).get(60)

    def read_batches(self, count: int) -> None:
        self._consumer.seek(self._place, 0)
        while count > 0:
            for record in self._consumer.poll(1000).get(self._place, ()):
                size = int(dict(record.headers)[BYTES_HEADER])
                raw = CODEC.decompress(record.value, decompressed_size=size)
                count -= pa.ipc.read_record_batch(raw, EVENT_SCHEMA).num_rows

    def read(self, count: int) -> None:
        self._consumer.seek(self._place, 0)
        while count > 0:
            count -= sum(map(len, self._consumer.poll(1000).values()))

    def close(self) -> None:
        self._connection.close()
