"""What a record of the topic holds: a batch of events, or one event in JSON from a producer that is not ours.

value   = an Arrow record batch message (EVENT_SCHEMA), compressed as a whole by LZ4 (frame format)
headers = recsys-version: of the schema; recsys-events: how many; recsys-bytes: of the message before compression
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from recsys.errors import InvalidValueError, LogError
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.kafka.offsets import MOST_EVENTS

VERSION = b"1"
VERSION_HEADER, EVENTS_HEADER, BYTES_HEADER = "recsys-version", "recsys-events", "recsys-bytes"
MOST_BYTES = 900 << 10
"""Of a value, unless one event is larger: brokers take 1 MiB by default (`max.message.bytes`)."""
_MOST_RAW_BYTES = 256 << 20
_CODEC = pa.Codec("lz4")


@dataclass(frozen=True, slots=True)
class Record:
    """A record to be produced."""

    value: bytes
    headers: list[tuple[str, bytes]]


def records(events: pa.RecordBatch, most_events: int) -> Iterator[Record]:
    """Cut `events` into records."""
    for start in range(0, events.num_rows, min(most_events, MOST_EVENTS)):
        yield from _small_enough(events.slice(start, most_events))


def _small_enough(events: pa.RecordBatch) -> Iterator[Record]:
    raw = events.serialize()
    value = _CODEC.compress(raw, asbytes=True)
    if len(value) > MOST_BYTES and events.num_rows > 1:
        half = events.num_rows // 2
        yield from _small_enough(events.slice(0, half))
        yield from _small_enough(events.slice(half))
        return
    counts = ((EVENTS_HEADER, events.num_rows), (BYTES_HEADER, raw.size))
    yield Record(value, [(VERSION_HEADER, VERSION), *((name, b"%d" % count) for name, count in counts)])


def events_in(record: Any) -> int | None:
    """How many events one of our records holds, None for a record of another producer.

    `record` is a `ConsumerRecord`. Raises LogError for a version of the schema that is not known.
    """
    if not record.headers:
        return None
    headers = dict(record.headers)
    version = headers.get(VERSION_HEADER)
    if version is None:
        return None
    if version != VERSION:
        raise LogError(
            f"topic {record.topic}, partition {record.partition}, record {record.offset}: version {version!r} of "
            f"events is not {VERSION!r}, which this release reads; install a newer release"
        )
    count = headers.get(EVENTS_HEADER, b"")
    return min(int(count), MOST_EVENTS) if count.isdigit() else 0


def decode(record: Any) -> pa.RecordBatch:
    """The events of one of our records. Raises InvalidValueError when it does not hold what its headers say."""
    headers = dict(record.headers)
    try:
        raw_bytes = int(headers[BYTES_HEADER])
        if raw_bytes > _MOST_RAW_BYTES:
            raise InvalidValueError(f"{raw_bytes} bytes of events are more than one record may hold")
        raw = _CODEC.decompress(record.value or b"", decompressed_size=raw_bytes)
        events = pa.ipc.read_record_batch(raw, EVENT_SCHEMA)
        events.validate(full=True)
    except (KeyError, ValueError, TypeError, OSError, pa.ArrowException) as error:
        raise InvalidValueError(f"not a batch of events: {error}") from error
    if events.num_rows != events_in(record) or not events.num_rows:
        raise InvalidValueError(f"holds {events.num_rows} events, its header says {events_in(record)}")
    return events
