from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import LogError
from streaming.events.schema import UserUpdate
from streaming.ingest.codec import encode_events
from streaming.log.event_log import Chunk, Cursor
from streaming.log.memory_log import MemoryLog
from streaming.log.merged_reader import LogReader


def log_of(*partitions: Sequence[int], append: int = 1000) -> MemoryLog:
    """A log with events at these times."""
    log = MemoryLog(len(partitions))
    for partition, times in enumerate(partitions):
        for start in range(0, len(times), append):
            events = [UserUpdate(time=time, user="u", features={}) for time in times[start : start + append]]
            log.append(encode_events(events), partition)
    return log


def read_all(reader: LogReader, max_events: int = 1000, until: int | None = None) -> list[tuple[int, int]]:
    """(partition, time) of each event, in the order of reading."""
    found: list[tuple[int, int]] = []
    while (chunk := reader.read(max_events, until)) is not None:
        assert chunk.events.num_rows <= max_events
        assert reader.cursor[chunk.partition] == chunk.next_offset
        found += [(chunk.partition, time) for time in chunk.events.column("time").to_pylist()]
    return found


def test_the_partition_whose_next_event_is_oldest_goes_first() -> None:
    log = log_of([1, 4, 5], [2, 3, 9])
    assert read_all(LogReader(log, None, slack=0)) == [(0, 1), (1, 2), (1, 3), (0, 4), (0, 5), (1, 9)]


def test_a_turn_runs_ahead_by_no_more_than_the_slack() -> None:
    log = log_of([1, 4, 5], [2, 3, 9])
    assert read_all(LogReader(log, None, slack=2)) == [(0, 1), (0, 4), (1, 2), (1, 3), (0, 5), (1, 9)]


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 50)), min_size=2, max_size=3), st.integers(0, 20))
def test_reading_in_turns_makes_nothing_late(partitions: list[list[int]], slack: int) -> None:
    """Of partitions in order, no event is read after one that is newer by more than the slack."""
    clock = 0
    found = read_all(LogReader(log_of(*map(sorted, partitions)), None, slack))
    assert sorted(time for _, time in found) == sorted(time for times in partitions for time in times)
    for _, time in found:
        assert time >= clock - slack
        clock = max(clock, time)


@pytest.mark.slow
@given(
    st.lists(st.lists(st.integers(0, 50)), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 20),
    st.lists(st.integers(0, 50)),
)
def test_the_sequence_depends_on_the_content_alone(
    partitions: list[list[int]], append: int, max_events: int, slack: int, stops: list[int]
) -> None:
    log = log_of(*partitions, append=append)
    expected = read_all(LogReader(log_of(*partitions), None, slack))
    reader, found = LogReader(log, None, slack), []
    for until in [*sorted(stops), None]:
        found += read_all(reader, max_events, until)
        again = LogReader(log, None, slack)
        again.seek(reader.cursor, reader.turn)
        reader = again
    assert found == expected
    assert reader.cursor == tuple(map(len, partitions))
    assert sorted(found) == sorted((p, time) for p, times in enumerate(partitions) for time in times)
    assert reader.lag_events == 0


class GappedLog(MemoryLog):
    """Only every third offset has an event, as in a log that keeps records of its own between and after them."""

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        chunk = super().read(partition, -(-offset // 3), max_events)
        return Chunk(partition, offset, chunk.events, chunk.next_offsets_N * 3)

    def unread(self, cursor: Cursor) -> int:
        ends = super().end()
        return sum(max(end - -(-offset // 3), 0) for end, offset in zip(ends, cursor, strict=True))

    def end(self) -> Cursor:
        return tuple(3 * offset + 2 if offset else 0 for offset in super().end())


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 50)), min_size=1, max_size=3), st.integers(1, 4), st.integers(0, 20))
def test_offsets_may_have_gaps(partitions: list[list[int]], max_events: int, slack: int) -> None:
    expected = read_all(LogReader(log_of(*partitions), None, slack))
    log = GappedLog(len(partitions))
    for partition, times in enumerate(partitions):
        log.append(encode_events([UserUpdate(time=time, user="u", features={}) for time in times]), partition)
    reader, found = LogReader(log, None, slack), []
    while (chunk := reader.read(max_events)) is not None:
        found += [(chunk.partition, time) for time in chunk.events.column("time").to_pylist()]
        cursor, turn = reader.cursor, reader.turn
        reader = LogReader(log, None, slack)
        reader.seek(cursor, turn)
        assert reader.lag_events == len(expected) - len(found)
    assert found == expected


def test_the_lag_counts_events_not_offsets() -> None:
    log = GappedLog()
    log.append(encode_events([UserUpdate(time=time, user="u", features={}) for time in range(9)]))
    reader = LogReader(log, None, slack=0)
    assert log.end() == (29,)
    assert reader.read(4) is not None
    assert reader.lag_events == 5
    assert reader.read(5) is not None
    assert (reader.lag_events, reader.cursor) == (0, (27,))


def test_until_stops_before_the_first_event_at_that_time_or_later() -> None:
    reader = LogReader(log_of([1, 5, 7, 6]), None, slack=0)
    assert read_all(reader, until=1) == []
    assert read_all(reader, until=7) == [(0, 1), (0, 5)]
    assert reader.cursor == (2,)
    assert read_all(reader, until=8) == [(0, 7), (0, 6)]


def test_a_growing_log_is_followed() -> None:
    log = log_of([1, 2])
    reader = LogReader(log, None, slack=0)
    assert read_all(reader) == [(0, 1), (0, 2)]
    log.append(encode_events([UserUpdate(time=3, user="u", features={})]))
    assert reader.lag_events == 1
    assert read_all(reader) == [(0, 3)]


def test_a_cursor_that_the_log_does_not_hold_is_refused() -> None:
    log = log_of([1, 2], [3])
    with pytest.raises(ValueError, match="has 1 partitions, the log has 2"):
        LogReader(log, (0,), slack=0)
    with pytest.raises(LogError, match="offset 2 of partition 1 is after the log's end, 1"):
        LogReader(log, (0, 2), slack=0)
