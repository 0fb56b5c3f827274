"""Reading a partitioned log as one sequence of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pyarrow as pa

from streaming.events.columns import erased_users, times
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.event_log import Chunk, Cursor, EventLog, check_cursor, check_offset

AHEAD = 65_536
"""Events to read at once from a partition."""
TURN = 1024
"""Most events of one partition before another may have its turn."""

_EMPTY = pa.RecordBatch.from_pylist([], schema=EVENT_SCHEMA)


class LogReader:
    """Events of all partitions, in turns; the partition whose next event is oldest goes first.

    No turn runs ahead of another partition's next event by more than `slack` ms of event time, so that reading in
    turns makes nothing late that was not late in its own partition. Of a log at rest, and of any log with one
    partition, the sequence is a function of its content alone. `cursor` is the position in the
    sequence, `turn` the current partition and the offset at which its turn ends: together the whole state.
    """

    def __init__(self, log: EventLog, start: Cursor | None, slack: int) -> None:
        self._log, self._slack = log, slack
        self.seek(log.begin() if start is None else start)

    def seek(self, cursor: Cursor, turn: tuple[int, int] = (0, 0)) -> None:
        """Continue at `cursor`. Raises InvalidValueError or LogError when it is not one of this log."""
        check_cursor(cursor, self._log.partitions)
        for partition, place in enumerate(zip(self._log.begin(), cursor, self._log.end(), strict=True)):
            check_offset(partition, *place, "the log")
        self.cursor, self.turn = cursor, turn
        self._ahead = [Chunk.consecutive(partition, offset, _EMPTY) for partition, offset in enumerate(cursor)]

    @property
    def lag_events(self) -> int:
        """Unread events in the log; 0 if and only if all were read. As exact as the log's `unread`."""
        ahead = sum(len(chunk.next_offsets_N) for chunk in self._ahead)
        return ahead + self._log.unread(tuple(chunk.next_offset for chunk in self._ahead))

    def read(self, max_events: int, until: int | None = None) -> Chunk | None:
        """The next events of one partition; None at the end, or when the next event's time is `until` or later.

        The erasure of a user comes alone, so that what came before it can be finished first.
        """
        partition, stop = self.turn
        if self.cursor[partition] >= stop:
            chosen = self._next_turn()
            if chosen is None:
                return None
            self.turn = partition, stop = chosen
        chunk = self._look(partition).before(stop).slice(0, max_events)
        if until is not None:
            chunk = chunk.slice(0, _first_above(chunk.events, until - 1))
        if not chunk.events.num_rows:
            return None
        if erased := erased_users(chunk.events):
            chunk = chunk.slice(0, max(erased[0][0], 1))
        self._advance(chunk)
        return chunk

    def _next_turn(self) -> tuple[int, int] | None:
        """The partition that reads next, and up to which offset."""
        heads = {p: _time(events) for p in range(len(self.cursor)) if (events := self._look(p).events).num_rows}
        if not heads:
            return None
        partition = min(heads, key=lambda p: (heads[p], p))
        ahead = self._look(partition)
        others = [time for p, time in heads.items() if p != partition]
        if others:
            ahead = ahead.slice(0, _first_above(ahead.events.slice(0, TURN), min(others) + self._slack))
        return partition, ahead.next_offset

    def _look(self, partition: int) -> Chunk:
        """The next events of a partition without taking them, at least `TURN` of them when the log has as many."""
        ahead = self._ahead[partition]
        if ahead.events.num_rows < TURN:
            parts = [ahead]
            while sum(part.events.num_rows for part in parts) < TURN:
                more = self._log.read(partition, parts[-1].next_offset, AHEAD)
                if not more.events.num_rows:
                    break
                parts.append(more)
            ahead = self._ahead[partition] = _concat(parts)
        return ahead

    def _advance(self, taken: Chunk) -> None:
        partition = taken.partition
        self._ahead[partition] = self._ahead[partition].slice(taken.events.num_rows)
        self.cursor = (*self.cursor[:partition], taken.next_offset, *self.cursor[partition + 1 :])


def _time(events: pa.RecordBatch) -> int:
    """Of the first event."""
    return int(times(events)[0])


def _first_above(events: pa.RecordBatch, limit: int) -> int:
    """How many events there are before the first that is later than `limit`."""
    above = np.flatnonzero(times(events) > limit)
    return int(above[0]) if len(above) else cast("int", events.num_rows)


def _concat(parts: Sequence[Chunk]) -> Chunk:
    """Chunks that follow each other as one; all but the first have events."""
    full = [part for part in parts if part.events.num_rows]
    if len(full) <= 1:
        return full[0] if full else parts[0]
    next_offsets_N = np.concatenate([part.next_offsets_N for part in full])
    return Chunk(parts[0].partition, parts[0].offset, pa.concat_batches([part.events for part in full]), next_offsets_N)
