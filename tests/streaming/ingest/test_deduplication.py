"""The window of recent events: none is forgotten too early, none remembered for ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.ingest.duplicates.deduplication import RecentEvents


def add(recent: RecentEvents, ids: Iterable[int], kind: int = 1) -> list[bool]:
    names = [str(id_) for id_ in ids]
    new, other = recent.add(np.full(len(names), kind, np.uint8), names, np.zeros(len(names), np.uint64))
    assert not other.any()
    return cast("list[bool]", new.tolist())


@pytest.mark.slow
@given(st.integers(1, 12), st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_it_knows_the_last_events_and_forgets_old_ones(capacity: int, batches: list[list[int]]) -> None:
    recent = RecentEvents(capacity)
    seen: list[int] = []  # accepted events, in order
    for ids in batches:
        for i, (id_, new) in enumerate(zip(ids, add(recent, ids), strict=True)):
            if id_ in ids[:i] or id_ in seen[-capacity:]:
                assert not new
            elif id_ not in seen[-2 * capacity :]:
                assert new
            if new:
                seen.append(id_)


def test_within_a_batch_the_first_one_counts() -> None:
    recent = RecentEvents(100)
    assert add(recent, [3, 1, 3, 2, 1]) == [True, True, False, True, False]
    assert add(recent, [2, 4]) == [False, True]


def test_at_least_the_capacity_and_at_most_twice_is_remembered() -> None:
    recent = RecentEvents(10)
    add(recent, range(25))
    assert not any(add(recent, range(15, 25)))
    assert all(add(recent, range(5)))


def test_kinds_are_numbered_apart() -> None:
    recent = RecentEvents(10)
    assert all(add(recent, [1], kind=0))
    assert all(add(recent, [1], kind=1))
    assert not any(add(recent, [1], kind=0))


@pytest.mark.slow
@given(
    st.integers(1, 12),
    st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2)), max_size=20), max_size=8),
)
def test_a_known_id_with_another_content_is_told(capacity: int, batches: list[list[tuple[int, int]]]) -> None:
    recent = RecentEvents(capacity)
    contents: dict[int, int] = {}  # of what was new last
    for batch in batches:
        names, given_N = [str(id_) for id_, _ in batch], np.array([content << 32 for _, content in batch], np.uint64)
        new, other = recent.add(np.zeros(len(batch), np.uint8), names, given_N)
        for i, (id_, content) in enumerate(batch):
            if new[i]:
                contents[id_] = content
            assert other[i] == (content != contents[id_])


def test_many_ids_are_told_apart() -> None:
    recent = RecentEvents(50_000)
    for start in range(0, 50_000, 5_000):
        assert all(add(recent, range(start, start + 5_000)))
    assert not any(add(recent, range(50_000)))


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RecentEvents(0)
