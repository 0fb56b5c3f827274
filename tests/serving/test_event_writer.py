from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest
from msgspec import structs

from recsys.errors import LogFullError
from serving.event_writer import EventWriter
from streaming.events.schema import Event, Impression, Interaction, ItemUpdate, UserUpdate
from streaming.ingest.codec import encode_events, to_events
from streaming.log.memory_log import MemoryLog


class GatedLog(MemoryLog):
    """Holds every append until it is let through, and can refuse."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.refuse: OSError | None = None
        self.sizes: list[int] = []

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        self.begun.release()
        self.gate.acquire()
        if self.refuse is not None:
            raise self.refuse
        self.sizes.append(events.num_rows)
        return super().append(events, partition)


def impression(name: str) -> Impression:
    return Impression(id=name, time=1, user="u", items=["a"])


def stored(log: MemoryLog, partition: int = 0) -> list[Event]:
    events: list[Event] = []
    while (chunk := log.read(partition, len(events))).events.num_rows:
        events += to_events(chunk.events)
    return events


def batch(*names: str) -> pa.RecordBatch:
    return encode_events([Interaction(time=2, impression=name, item="a", id=f"on {name}") for name in names])


@pytest.fixture
def log() -> GatedLog:
    return GatedLog()


@pytest.fixture
def impressions(log: GatedLog) -> Iterator[EventWriter]:
    made = EventWriter(log, most_waiting=5)
    yield made
    for _ in range(20):
        log.gate.release()
    made.close()


def test_events_that_come_during_an_append_share_the_next(log: GatedLog, impressions: EventWriter) -> None:
    first = impressions.append(impression("i0"))
    assert log.begun.acquire(timeout=120)
    rest = [impressions.append(impression("i1")), impressions.append(batch("i0", "i1")), impressions.append(batch("x"))]
    assert not first.done()
    log.gate.release(2)
    for future in (first, *rest):
        future.result(120)
    assert log.sizes == [1, 4]
    assert [event.id for event in stored(log)] == ["i0", "i1", "on i0", "on i1", "on x"]


def test_nothing_is_acknowledged_before_it_is_stored(log: GatedLog, impressions: EventWriter) -> None:
    future = impressions.append(batch("a"))
    assert log.begun.acquire(timeout=120)
    assert not future.done()
    log.gate.release()
    future.result(120)


def test_a_failing_log_fails_its_events_and_no_others(log: GatedLog, impressions: EventWriter) -> None:
    log.refuse = OSError("no space left")
    log.gate.release()
    with pytest.raises(OSError, match="no space left"):
        impressions.append(batch("a")).result(120)
    assert impressions.failing
    log.refuse = None
    log.gate.release()
    impressions.append(batch("b")).result(120)
    assert not impressions.failing
    assert [event.id for event in stored(log)] == ["on b"]


def test_what_waits_is_bounded(log: GatedLog, impressions: EventWriter) -> None:
    impressions.append(impression("first"))
    assert log.begun.acquire(timeout=120)
    waiting = [impressions.append(impression(f"i{i}")) for i in range(5)]
    with pytest.raises(LogFullError):
        impressions.append(impression("too many")).result(120)
    log.gate.release(2)
    for future in waiting:
        future.result(120)


def test_closing_stores_what_waits(log: GatedLog, impressions: EventWriter) -> None:
    futures = [impressions.append(impression(f"i{i}")) for i in range(4)]
    log.gate.release(10)
    impressions.close()
    assert all(future.done() for future in futures)
    assert len(stored(log)) == 4
    with pytest.raises(LogFullError):
        impressions.append(impression("late")).result(120)


def test_a_counter_that_fails_takes_nothing_back() -> None:
    def fail(events: pa.RecordBatch) -> None:
        raise RuntimeError("Redis is gone")

    log = MemoryLog()
    impressions = EventWriter(log, fail)
    impressions.append(impression("a")).result(120)
    impressions.append(impression("b")).result(120)
    impressions.close()
    assert [event.id for event in stored(log)] == ["a", "b"]


def test_an_impression_and_its_interactions_share_a_partition() -> None:
    log = MemoryLog(4)
    impressions = EventWriter(log)
    names = [f"i{i}" for i in range(40)]
    for name in names:
        impressions.append(impression(name)).result(120)
    impressions.append(batch(*names)).result(120)
    updates: list[Event] = [UserUpdate(time=3, user="u", features={}), ItemUpdate(time=3, item="a", features={})]
    for time in range(3, 6):
        again = [structs.replace(update, time=time) for update in updates]
        impressions.append(encode_events(again)).result(120)
    impressions.close()
    by_partition = [stored(log, partition) for partition in range(4)]
    for events in by_partition:
        shown = {e.id for e in events if isinstance(e, Impression)}
        assert {e.impression for e in events if isinstance(e, Interaction)} == shown
    assert sum(map(len, by_partition)) == 86
    assert sum(any(isinstance(e, UserUpdate) for e in events) for events in by_partition) == 1


def test_an_event_that_came_before_is_stored_once_also_within_one_request() -> None:
    log = MemoryLog()
    seen: list[int] = []
    writer = EventWriter(log, lambda events: seen.append(events.num_rows))
    assert writer.append(batch("a", "a", "b")).result(120).new_N.tolist() == [True, False, True]
    again = writer.append(batch("b", "c")).result(120)
    writer.close()
    assert (again.new_N.tolist(), again.clash_N.tolist()) == ([False, True], [False, False])
    assert [event.id for event in stored(log)] == ["on a", "on b", "on c"]
    assert seen == [2, 1]


def test_another_event_with_a_known_id_is_refused() -> None:
    log = MemoryLog()
    writer = EventWriter(log)
    writer.append(impression("i")).result(120)
    other = Impression(id="i", time=1, user="somebody else", items=["a"])
    same_id = Interaction(time=2, impression="i", item="a", id="i")
    outcome = writer.append(encode_events([other, same_id])).result(120)
    writer.close()
    assert (outcome.new_N.tolist(), outcome.clash_N.tolist()) == ([False, True], [True, False])
    assert [type(event) for event in stored(log)] == [Impression, Interaction]


@pytest.mark.parametrize("partitions", [1, 3])
def test_what_others_wrote_is_known_and_what_a_restarted_server_wrote_before(partitions: int) -> None:
    log = MemoryLog(partitions)
    one, other = EventWriter(log), EventWriter(log)
    one.append(batch("a", "b")).result(120)
    assert other.append(batch("b", "c")).result(120).new_N.tolist() == [False, True]
    assert one.append(batch("c", "d")).result(120).new_N.tolist() == [False, True]
    for writer in (one, other):
        writer.close()
    restarted = EventWriter(log)
    assert restarted.append(batch("a", "b", "c", "d", "e")).result(120).new_N.tolist() == [False] * 4 + [True]
    restarted.close()


def test_the_window_of_duplicates_is_the_end_of_the_log() -> None:
    log = MemoryLog()
    first = EventWriter(log)
    first.append(batch(*(f"{i}" for i in range(100)))).result(120)
    first.close()
    restarted = EventWriter(log, window=10)
    assert not restarted.append(batch(*(f"{i}" for i in range(90, 100)))).result(120).new_N.any()
    assert restarted.append(batch("0", "1")).result(120).new_N.all()
    restarted.close()


def test_events_that_could_not_be_stored_are_no_duplicates_when_they_come_again(
    log: GatedLog, impressions: EventWriter
) -> None:
    log.refuse = OSError("no space left")
    log.gate.release()
    with pytest.raises(OSError, match="no space left"):
        impressions.append(batch("a")).result(120)
    log.refuse = None
    log.gate.release()
    assert impressions.append(batch("a")).result(120).new_N.tolist() == [True]
    assert [event.id for event in stored(log)] == ["on a"]
