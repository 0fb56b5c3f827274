"""Reading a partitioned log as one sequence of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pyarrow as pa

from streaming.events.columns import times
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.event_log import Chunk, Cursor, EventLog

AHEAD = 65_536
"""Events to read at once from a partition."""
TURN = 1024
"""Most events of one partition before another may have its turn."""

_EMPTY = pa.RecordBatch.from_pylist([], schema=EVENT_SCHEMA)


class LogReader:
    """Events of all partitions, in turns; the partition whose next event is oldest goes first.

    No turn runs ahead of another partition's next event by more than `slack` ms of event time, so that reading in
    turns makes nothing late that was not late in its own partition. Of a log at rest, and of any log with one
    partition, the sequence is a function of its content alone. `cursor` is where the sequence stands, `turn` the
    partition that has its turn and the offset at which that ends: both together are all there is to restore.
    """

    def __init__(self, log: EventLog, start: Cursor | None, slack: int) -> None:
        self._log, self._slack = log, slack
        self.seek(log.begin() if start is None else start)

    def seek(self, cursor: Cursor, turn: tuple[int, int] = (0, 0)) -> None:
        """Go on at `cursor`. Raises ValueError when the log does not hold it."""
        begin, end = self._log.begin(), self._log.end()
        if len(cursor) != len(begin):
            raise ValueError(f"the cursor {cursor} is of {len(cursor)} partitions, the log has {len(begin)}")
        for partition, (first, offset, last) in enumerate(zip(begin, cursor, end, strict=True)):
            if not first <= offset <= last:
                raise ValueError(
                    f"the log holds offsets {first} to {last} of partition {partition}, not {offset}: "
                    "use the log that the cursor was taken from, or start from the log's begin"
                )
        self.cursor, self.turn = cursor, turn
        self._ahead = [Chunk(partition, offset, _EMPTY) for partition, offset in enumerate(cursor)]

    @property
    def lag_events(self) -> int:
        return sum(self._log.end()) - sum(self.cursor)

    def read(self, max_events: int, until: int | None = None) -> Chunk | None:
        """The next events of one partition; None at the end, or when the next event's time is `until` or later."""
        partition, stop = self.turn
        if self.cursor[partition] >= stop:
            chosen = self._next_turn()
            if chosen is None:
                return None
            self.turn = partition, stop = chosen
        offset = self.cursor[partition]
        events = self._look(partition).slice(0, min(stop - offset, max_events))
        if until is not None:
            events = events.slice(0, _first_above(events, until - 1))
        if not events.num_rows:
            return None
        self._advance(partition, events.num_rows)
        return Chunk(partition, offset, events)

    def _next_turn(self) -> tuple[int, int] | None:
        """Who reads next, and up to which offset."""
        heads = {p: _time(events) for p in range(len(self.cursor)) if (events := self._look(p)).num_rows}
        if not heads:
            return None
        partition = min(heads, key=lambda p: (heads[p], p))
        events = self._look(partition)
        others = [time for p, time in heads.items() if p != partition]
        count = _first_above(events.slice(0, TURN), min(others) + self._slack) if others else events.num_rows
        return partition, self.cursor[partition] + count

    def _look(self, partition: int) -> pa.RecordBatch:
        """The next events of a partition without taking them, at least `TURN` of them when the log has as many."""
        ahead = self._ahead[partition]
        if ahead.events.num_rows < TURN:
            parts: list[pa.RecordBatch] = [ahead.events]
            offset = ahead.next_offset
            while sum(part.num_rows for part in parts) < TURN:
                more = self._log.read(partition, offset, AHEAD)
                if not more.events.num_rows:
                    break
                parts.append(more.events)
                offset = more.next_offset
            ahead = self._ahead[partition] = Chunk(partition, ahead.offset, _concat(parts))
        return ahead.events

    def _advance(self, partition: int, count: int) -> None:
        ahead = self._ahead[partition]
        self._ahead[partition] = Chunk(partition, ahead.offset + count, ahead.events.slice(count))
        self.cursor = tuple(offset + count * (p == partition) for p, offset in enumerate(self.cursor))


def _time(events: pa.RecordBatch) -> int:
    """Of the first event."""
    return int(times(events)[0])


def _first_above(events: pa.RecordBatch, limit: int) -> int:
    """How many events there are before the first that is later than `limit`."""
    above = np.flatnonzero(times(events) > limit)
    return int(above[0]) if len(above) else cast("int", events.num_rows)


def _concat(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    full = [part for part in parts if part.num_rows]
    return full[0] if len(full) == 1 else pa.concat_batches(full) if full else _EMPTY
