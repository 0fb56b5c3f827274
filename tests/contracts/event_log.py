"""What every event log does. An implementation's tests subclass `EventLogContract` and say how to make one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from recsys.errors import InvalidValueError, LogError
from streaming.events.columns import IMPRESSION, INTERACTION
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.event_log import EventLog


def events(first: int, count: int) -> pa.RecordBatch:
    """`count` interactions, numbered from `first`, with a payload that differs."""
    rows = [
        {
            "kind": INTERACTION,
            "id": f"e{i}",
            "time": i,
            "impression": f"r{i}",
            "item": "x" * (i % 50),
            "action": "click",
        }
        for i in range(first, first + count)
    ]
    return pa.RecordBatch.from_pylist(rows, EVENT_SCHEMA)


def numbers(batch: pa.RecordBatch) -> list[int]:
    return [int(value) for value in batch.column("time").to_pylist()]


def read_all(log: EventLog, partition: int = 0, offset: int | None = None, max_events: int = 65_536) -> list[int]:
    """The numbers of the events from `offset` on, or from the oldest."""
    offset = log.begin()[partition] if offset is None else offset
    found: list[int] = []
    while (chunk := log.read(partition, offset, max_events)).events.num_rows:
        assert chunk.events.num_rows <= max_events
        found += numbers(chunk.events)
        offset = chunk.next_offset
    return found


def offsets(log: EventLog, partition: int = 0, start: int | None = None) -> list[int]:
    """The offset of each event from `start` on, or from the oldest, and that after the last one."""
    found = [log.begin()[partition] if start is None else start]
    while (chunk := log.read(partition, found[-1])).events.num_rows:
        found += chunk.next_offsets_N.tolist()
    return found


class EventLogContract:
    """Subclass it as `class TestX(EventLogContract)` and override `make`.

    Offsets rise; nothing here takes them for numbers of events.
    """

    examples = 20
    """Sequences of calls to try: fewer for a log that takes long to make."""

    def starts(self, places: int) -> Iterable[int]:
        """Which of so many places to begin to read from: some, for a log that takes long to find a place."""
        return range(places)

    def about(self, unread: int, events: int) -> bool:
        """Whether a log may count `events` so: others than exact for a log that estimates."""
        return unread == events

    @pytest.fixture
    def log(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
        log = self.make(tmp_path_factory, 2)
        yield log
        log.close()

    def make(self, tmp: pytest.TempPathFactory, partitions: int) -> EventLog:
        raise TypeError("say how to make a log")

    def test_a_new_log_is_empty(self, log: EventLog) -> None:
        assert log.partitions == len(log.begin()) == 2
        assert log.begin() == log.end() == log.tail(10)
        assert log.unread(log.begin()) == 0
        empty = log.read(0, log.begin()[0])
        assert (empty.events.num_rows, empty.next_offset) == (0, log.begin()[0])
        assert empty.events.schema.equals(EVENT_SCHEMA)

    def test_events_come_back_as_they_were_appended(self, log: EventLog) -> None:
        batch, begin = events(0, 10), log.begin()
        after = log.append(batch, 1)
        end = log.append(events(10, 1), 1)
        assert begin[1] < after < end
        chunk = log.read(1, begin[1], 10)
        assert (chunk.partition, chunk.offset, chunk.next_offset) == (1, begin[1], after)
        assert chunk.events.equals(batch)
        assert log.end() == (begin[0], end)

    def test_every_column_survives(self, log: EventLog) -> None:
        row = {
            "kind": IMPRESSION, "id": "i", "time": 2**53 + 1, "user": "ü\0", "items": ["a", ""], "features": b'{"a":1}',
            "item_features": b"{}", "scores": [1e-300, -0.0], "propensities": [], "experiment": "", "arm": "a",
        }  # fmt: skip
        batch = pa.RecordBatch.from_pylist([row], EVENT_SCHEMA)
        log.append(batch)
        assert log.read(0, log.begin()[0]).events.to_pylist() == batch.to_pylist()

    def test_reading_starts_anywhere_and_is_repeatable(self, log: EventLog) -> None:
        for first in range(0, 40, 8):
            log.append(events(first, 8))
        places = offsets(log)
        assert len(places) == 41
        for number in self.starts(41):
            for most in (1, 3, 100):
                assert read_all(log, 0, places[number], most) == list(range(number, 40))

    def test_appending_nothing_changes_nothing(self, log: EventLog) -> None:
        begin = log.begin()
        end = log.append(events(0, 3))
        assert log.append(events(0, 0)) == end
        assert log.end() == (end, begin[1])

    def test_a_slice_is_appended_as_a_slice(self, log: EventLog) -> None:
        log.append(events(0, 100).slice(40, 5))
        assert read_all(log) == [40, 41, 42, 43, 44]

    def test_other_schemas_partitions_and_offsets_are_refused(self, log: EventLog) -> None:
        with pytest.raises(ValueError, match="schema"):
            log.append(pa.RecordBatch.from_pydict({"kind": [1]}))
        for partition in (2, -1):
            with pytest.raises(ValueError, match="partition"):
                log.append(events(0, 1), partition)
            with pytest.raises(ValueError, match="partition"):
                log.read(partition, 0)
        begin, end = log.begin()[0], log.append(events(0, 1))
        with pytest.raises(
            LogError, match=f"offset {end + 1}.* of partition 0 is after the log's end, {end}.*; use the log"
        ):
            log.read(0, end + 1)
        before = f"offset {begin - 1}.* of partition 0 is before the oldest event kept, {begin}.*; start from"
        with pytest.raises(LogError, match=before):
            log.read(0, begin - 1)
        assert read_all(log) == [0]

    def test_every_event_knows_the_offset_after_it(self, log: EventLog) -> None:
        log.append(events(0, 5))
        log.append(events(5, 30))
        for most in (3, 100):
            chunk = log.read(0, log.begin()[0], most)
            for i in self.starts(chunk.events.num_rows):
                assert read_all(log, 0, int(chunk.next_offsets_N[i])) == list(range(i + 1, 35))
            assert (chunk.slice(1).offset, chunk.slice(1).next_offset) == (chunk.next_offsets_N[0], chunk.next_offset)
            assert numbers(chunk.before(int(chunk.next_offsets_N[1])).events) == [0, 1]

    def test_unread_events_are_counted(self, log: EventLog) -> None:
        for first in range(0, 60, 6):
            log.append(events(first, 6))
        log.append(events(0, 4), 1)
        places, other = offsets(log), offsets(log, 1)
        assert self.about(log.unread((places[0], other[0])), 64)
        assert self.about(log.unread((places[33], other[2])), 29)
        assert log.unread((places[59], other[-1])) == 1
        assert log.unread(log.end()) == 0
        with pytest.raises(InvalidValueError, match="partitions"):
            log.unread((places[0],))

    def test_the_tail_has_at_least_so_many_events(self, log: EventLog) -> None:
        for first in range(0, 200, 20):
            log.append(events(first, 20))
        log.append(events(0, 5), 1)
        for count in (1, 30, 300):
            tail = log.tail(count)
            assert len(read_all(log, 0, tail[0])) >= min(count, 200)
            assert len(read_all(log, 1, tail[1])) >= min(count, 5)
        assert log.tail(300) == log.begin()

    def test_what_was_dropped_is_refused_and_the_rest_stays(self, log: EventLog) -> None:
        for first in range(0, 200, 20):
            log.append(events(first, 20))
        log.append(events(0, 5), 1)
        old, places, ends = log.begin(), offsets(log), log.end()
        log.drop_before((places[110], old[1]))
        begin = log.begin()
        assert places[0] < begin[0] <= places[110]
        assert begin[1] == old[1]
        assert log.end() == ends
        assert read_all(log) == list(range(places.index(begin[0]), 200))
        assert read_all(log, 1) == list(range(5))
        with pytest.raises(LogError, match=f"before the oldest event kept, {begin[0]}.*; start from the log's begin"):
            log.read(0, places[places.index(begin[0]) - 1])
        log.drop_before(begin)
        assert log.begin() == begin
        log.drop_before(log.end())
        assert begin[0] <= log.begin()[0] <= ends[0]
        end = log.append(events(200, 1))
        assert read_all(log, 0, ends[0]) == [200]
        assert log.end()[0] == end
        with pytest.raises(InvalidValueError, match="partitions"):
            log.drop_before((1,))

    def test_wait_returns_when_something_is_appended_to_any_partition(self, log: EventLog) -> None:
        begin = log.begin()
        assert not log.wait(begin, timeout=0)
        woken: list[bool] = []
        waiter = threading.Thread(target=lambda: woken.append(log.wait(begin, timeout=60)))
        waiter.start()
        log.append(events(0, 1), 1)
        waiter.join()
        assert woken == [True]
        assert log.wait(begin, timeout=0)
        assert not log.wait(log.end(), timeout=0)

    def test_threads_append_together(self, log: EventLog) -> None:
        def work(first: int) -> None:
            for i in range(20):
                log.append(events(first + i, 1))

        threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = read_all(log)
        assert sorted(found) == [100 * i + j for i in range(4) for j in range(20)]
        for i in range(4):
            assert [n for n in found if n // 100 == i] == [100 * i + j for j in range(20)]

    def test_commits_are_per_consumer(self, log: EventLog) -> None:
        assert log.committed("trainer") is None
        log.commit("trainer", (3, 4))
        log.commit("trainer", (5, 4))
        log.commit("other", (0, 1))
        assert (log.committed("trainer"), log.committed("other")) == ((5, 4), (0, 1))
        with pytest.raises(ValueError, match="partitions"):
            log.commit("trainer", (1,))

    def test_any_sequence_of_calls_agrees_with_a_list(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        contract = self

        class Machine(RuleBasedStateMachine):
            """The log against one list per partition."""

            def __init__(self) -> None:
                super().__init__()
                self.log = contract.make(tmp_path_factory, 2)
                self.model: list[list[int]] = [[], []]
                self.places = [[offset] for offset in self.log.begin()]
                self.next = 0
                self.commits: dict[str, tuple[int, ...]] = {}

            @rule(partition=st.integers(0, 1), count=st.integers(0, 30))
            def append(self, partition: int, count: int) -> None:
                end = self.log.append(events(self.next, count), partition)
                self.model[partition] += range(self.next, self.next + count)
                self.next += count
                places = self.places[partition]
                places += offsets(self.log, partition, places.pop())
                assert end == places[-1]

            @precondition(lambda self: self.next)
            @rule(partition=st.integers(0, 1), where=st.floats(0, 1), most=st.integers(1, 40))
            def read(self, partition: int, where: float, most: int) -> None:
                model = self.model[partition]
                start = int(where * len(model))
                found = numbers(self.log.read(partition, self.places[partition][start], most).events)
                assert found == model[start : start + len(found)]
                assert len(found) <= most
                assert found or start == len(model)

            @rule(consumer=st.sampled_from(["a", "b"]))
            def commit(self, consumer: str) -> None:
                self.commits[consumer] = self.log.end()
                self.log.commit(consumer, self.log.end())

            @rule()
            def reopen(self) -> None:
                self.log = contract.reopen(self.log)

            @invariant()
            def ends_and_commits_agree(self) -> None:
                assert self.log.end() == tuple(places[-1] for places in self.places)
                assert list(map(len, self.places)) == [len(model) + 1 for model in self.model]
                for consumer in ("a", "b"):
                    assert self.log.committed(consumer) == self.commits.get(consumer)

            def teardown(self) -> None:
                self.log.close()

        Machine.TestCase.settings = settings(max_examples=self.examples, stateful_step_count=20, deadline=None)
        machine = Machine.TestCase("runTest")
        machine.runTest()

    def reopen(self, log: EventLog) -> EventLog:
        """The same log, opened once more; a log that lives in the object returns itself."""
        return log
