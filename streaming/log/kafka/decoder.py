"""From records of a topic to events.

Shape suffixes: N events.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.errors import InvalidValueError
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.event_log import Decode
from streaming.log.kafka.dead_records import DeadRecords
from streaming.log.kafka.offsets import next_offsets, next_offsets_of_single
from streaming.log.kafka.records import decode, events_in

EMPTY = pa.RecordBatch.from_pylist([], EVENT_SCHEMA)


@dataclass(frozen=True, slots=True)
class Taken:
    """The events of some records, the offset after each, and how many records they are of."""

    events: pa.RecordBatch
    next_offsets_N: npt.NDArray[np.int64]
    records: int


class Decoder:
    """Decodes records; those that are no events go to `dead_records`. The last one of ours is kept, for small steps."""

    def __init__(self, foreign: Decode, dead_records: DeadRecords) -> None:
        self._foreign = foreign
        self._dead_records = dead_records
        self._kept: tuple[tuple[int, int], pa.RecordBatch] | None = None

    def take(self, records: Sequence[Any], first: int, most: int) -> Taken:
        """Events of consecutive records, from number `first` of the first record on, at most `most`.

        `records` are at least one. Raises errors of Kafka's client when a refused record could not be stored.
        """
        if events_in(records[0]) is None:
            return self._take_foreign(list(takewhile(_is_foreign, islice(records, most))))
        return self._take_ours(records, first, most)

    def _take_foreign(self, records: list[Any]) -> Taken:
        now = time.time_ns() // 1_000_000
        clocks = [record.timestamp if record.timestamp >= 0 else now for record in records]
        events, refused = self._foreign([record.value or b"" for record in records], clocks)
        self._dead_records.write([(records[number], reason) for number, reason in refused])
        taken_N = np.ones(len(records), np.bool_)
        taken_N[[number for number, _ in refused]] = False
        next_N = next_offsets_of_single(map(attrgetter("offset"), records))[taken_N]
        return Taken(events, next_N, len(records))

    def _take_ours(self, records: Sequence[Any], first: int, most: int) -> Taken:
        parts, next_offsets_, taken = list[pa.RecordBatch](), list[npt.NDArray[np.int64]](), 0
        for record, events in self._decoded(records):
            part = events.slice(first, most)
            if parts and part.num_rows < events.num_rows:  # a piece only of the first record, whose rest comes next
                break
            taken += 1
            if part.num_rows:
                parts.append(part)
                next_offsets_.append(next_offsets(record.offset, events.num_rows)[first : first + part.num_rows])
            first, most = 0, most - part.num_rows
            if most <= 0:
                break
        if not parts:
            return Taken(EMPTY, np.zeros(0, np.int64), taken)
        events = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        return Taken(events, np.concatenate(next_offsets_), taken)

    def _decoded(self, records: Sequence[Any]) -> Iterator[tuple[Any, pa.RecordBatch]]:
        """Our records from the first on with their events, none for those that are refused."""
        for record in records:
            if events_in(record) is None:
                return
            place = (record.partition, record.offset)
            if self._kept is None or self._kept[0] != place:
                try:
                    self._kept = (place, decode(record))
                except InvalidValueError as error:
                    self._dead_records.write([(record, str(error))])
                    self._kept = (place, EMPTY)
            yield record, self._kept[1]


def _is_foreign(record: Any) -> bool:
    return not record.headers or events_in(record) is None
