"""The window of recent events: none is forgotten too early, none remembered for ever."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.dedup import RecentEvents
from streaming.events import EVENT_SCHEMA
from streaming.memory_log import MemoryLog


def batch(ids: list[int], kind: int = 1) -> pa.RecordBatch:
    rows = [{"kind": kind, "id": str(id_), "time": 0} for id_ in ids]
    return pa.RecordBatch.from_pylist(rows, EVENT_SCHEMA)


@given(st.integers(1, 12), st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_it_knows_the_last_events_and_forgets_old_ones(capacity: int, batches: list[list[int]]) -> None:
    recent = RecentEvents(capacity)
    seen: list[int] = []  # accepted events, in order
    for ids in batches:
        for i, (id_, new) in enumerate(zip(ids, recent.add(batch(ids)).tolist(), strict=True)):
            if id_ in ids[:i] or id_ in seen[-capacity:]:
                assert not new
            elif id_ not in seen[-2 * capacity :]:
                assert new
            if new:
                seen.append(id_)


def test_within_a_batch_the_first_one_counts() -> None:
    recent = RecentEvents(100)
    assert recent.add(batch([3, 1, 3, 2, 1])).tolist() == [True, True, False, True, False]
    assert recent.add(batch([2, 4])).tolist() == [False, True]


def test_at_least_the_capacity_and_at_most_twice_is_remembered() -> None:
    recent = RecentEvents(10)
    recent.add(batch(list(range(25))))
    assert not recent.add(batch(list(range(15, 25)))).any()
    assert recent.add(batch(list(range(5)))).all()


def test_kinds_are_numbered_apart() -> None:
    recent = RecentEvents(10)
    assert recent.add(batch([1], kind=0)).all()
    assert recent.add(batch([1], kind=1)).all()
    assert not recent.add(batch([1], kind=0)).any()


def test_many_ids_are_told_apart() -> None:
    recent = RecentEvents(50_000)
    for start in range(0, 50_000, 5_000):
        assert recent.add(batch(list(range(start, start + 5_000)))).all()
    assert not recent.add(batch(list(range(50_000)))).any()


def test_it_starts_from_the_tail_of_the_log() -> None:
    log = MemoryLog(2)
    log.append(batch(list(range(100))), 0)
    log.append(batch(list(range(1000, 1005))), 1)
    recent = RecentEvents.of(log, 20)
    assert not recent.add(batch([*range(90, 100), *range(1000, 1005)])).any()
    assert recent.add(batch([5])).all()


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RecentEvents(0)
