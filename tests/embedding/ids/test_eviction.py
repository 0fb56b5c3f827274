"""Eviction in the order of a full sort, whatever happened since the list was made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.hashing import mix
from embedding.ids.id_table import IdTable
from embedding.ids.order.waiting import merged, sorted_by_place
from embedding.kernels.id_table import coldest
from embedding.local.store import LocalStore
from embedding.store import Ids, Table


def expected_first(table: IdTable, n: int, pinned: set[int], draw: int) -> list[int]:
    ids, packed = table.entries()
    order = np.lexsort((mix(mix(ids) + np.uint64(draw)), packed & np.uint64(0xFFFFFFFF)))
    return [
        key for key, word in zip(ids[order].tolist(), packed[order].tolist(), strict=True) if word >> 32 not in pinned
    ][:n]


def pins(rows: set[int], capacity: int) -> Ids:
    bits = np.zeros(capacity // 64 + 1, np.uint64)
    for row in rows:
        bits[row // 64] |= np.uint64(1 << (row % 64))
    return bits


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_eviction_is_exactly_the_order_of_a_full_sort(data: st.DataObject) -> None:
    capacity = data.draw(st.sampled_from([40, 3000]))
    table, minute, draw = IdTable(capacity), 100, 0
    for _ in range(data.draw(st.integers(3, 15))):
        minute = max(1, minute + data.draw(st.sampled_from([0, 0, 0, 0, -3, -2, -1, 1, 2, 3])))
        draw += data.draw(st.sampled_from([0, 0, 1]))
        rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
        ids = rng.integers(0, 2 * capacity, data.draw(st.integers(0, capacity // 2))).astype(np.uint64)
        table.find_or_insert(ids, minute)
        if data.draw(st.booleans()):
            ids, packed = table.entries()
            held = set(rng.permutation(table.unpack(packed).rows_U)[: len(packed) // 5].tolist())
            n = data.draw(st.integers(0, max(1, len(table) // 10)))
            expected = expected_first(table, n, held, draw)
            gone, rows = table.evict(n, pins(held, capacity), draw * capacity)
            assert gone.tolist() == expected
            assert len(set(rows.tolist())) == len(rows)
            assert (table.find(gone) == -1).all()
            kept = np.setdiff1d(ids, gone)
            assert (table.find(kept) >= 0).all()
            assert len(np.unique(table.find(kept))) == len(kept) == len(table)
        if data.draw(st.integers(0, 5)) == 0:
            table.expire(minute - 2)


def with_mixed(words: Ids) -> Ids:
    """The ids that `mix` makes these words of."""
    z = (words ^ (words >> np.uint64(31)) ^ (words >> np.uint64(62))) * np.uint64(0x319642B2D24D8EC3)
    z = (z ^ (z >> np.uint64(27)) ^ (z >> np.uint64(54))) * np.uint64(0x96DE1B173F119089)
    return np.asarray((z ^ (z >> np.uint64(30)) ^ (z >> np.uint64(60))) - np.uint64(0x9E3779B97F4A7C15))


@pytest.mark.parametrize("seed", range(20))
def test_ids_whose_places_are_equal_are_in_order_too(seed: int) -> None:
    """All ties have one upper half, and ids move while others of their place still wait to join the run."""
    ids = with_mixed(with_mixed((np.uint64(7) << np.uint64(32)) + np.arange(700, dtype=np.uint64)))
    assert len(np.unique(mix(mix(ids)) >> np.uint64(32))) == 1
    table, rng = IdTable(700), np.random.default_rng(seed)
    table.find_or_insert(ids, minute=100)
    for _ in range(8):
        seen = np.unique(rng.choice(ids, 200))
        table.lookup_and_touch(seen, np.ones(len(seen), np.int32), 100)
        n = int(rng.choice([1, 20, 65]))
        expected = expected_first(table, n, set(), 0)
        assert table.evict(n)[0].tolist() == expected


def test_none_are_evicted_before_the_last_of_a_draw() -> None:
    table = IdTable(40)
    table.find_or_insert(np.arange(15, dtype=np.uint64), minute=100)
    table.evict(1, evicted=38)
    assert len(table.evict(0, evicted=39)[0]) == 0
    expected = expected_first(table, 3, set(), 0)
    assert table.evict(3, evicted=39)[0].tolist() == expected


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0, 0xABCDEF << 32, 2**64 - 2**40]))
def test_removing_single_ids_leaves_all_others_in_reach(seed: int, where: int) -> None:
    """Crowded: all ids share a few home lines, so that most lie far from home."""
    ids = with_mixed(np.uint64(where) + (np.arange(400, dtype=np.uint64) << np.uint64(26)))
    table = IdTable(500)
    table.find_or_insert(ids, minute=0)
    order = np.random.default_rng(seed).permutation(ids)
    for begin in range(0, 400, 50):
        gone, _ = table.evict(50, pins(set(table.find(order[begin + 50 :]).tolist()), 500))
        assert sorted(gone.tolist()) == sorted(order[begin : begin + 50].tolist())
        assert (table.find(order[: begin + 50]) == -1).all()
        left = table.find(order[begin + 50 :])
        assert left.min(initial=0) >= 0
        assert len(np.unique(left)) == len(left) == len(table)


@pytest.mark.slow
@pytest.mark.parametrize("batches_a_minute", [1, 12, 10**9], ids=["every batch", "every hour", "never"])
def test_a_stream_of_new_ids_costs_the_same_however_rarely_its_clock_moves(
    batches_a_minute: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the table, the slots that are searched for each id evicted, and the most that one call searches."""
    searched: list[int] = []

    def collect(*arguments: Any) -> int:
        lines_S, begin, end, step = (arguments[i] for i in (1, 4, 5, 6))
        searched.append(4 * int(lines_S[begin:end].sum()) // step)
        return int(kernel(*arguments))

    kernel = coldest.collect
    monkeypatch.setattr(coldest, "collect", collect)
    capacity, each = 400_000, 2000
    table, largest, calls = IdTable(capacity), 0.0, []
    table.find_or_insert(np.arange(capacity, dtype=np.uint64), minute=0)
    for step in range(500):
        searched.clear()
        assert len(table.evict(each, evicted=each * step)[0]) == each
        calls.append(sum(searched))
        new = np.arange(each, dtype=np.uint64) + np.uint64(10**7 + each * step)
        table.find_or_insert(new, minute=1 + step // batches_a_minute)
        largest = max(largest, table.nbytes / len(table))
    assert len(table) == capacity
    assert largest < 24.5
    assert sum(calls) / 500 / each < 2 * 16 / 0.69, "a pass over the slots for a sixteenth of the ids, and samples"
    assert max(calls[1:]) < 0.7 * capacity / 0.69, "no call but the first passes over the table"


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 2**64 - 1), st.integers(0, 10**6))
def test_two_lists_sorted_and_merged_are_the_list_of_both_sorted(n: int, more: int, differing: int, seed: int) -> None:
    """Places that differ in some of their bits only, down to none; keys are distinct."""
    rng = np.random.default_rng(seed)
    keys = rng.permutation(1000)[: n + more].astype(np.uint64)
    places = rng.integers(0, 2**64, n + more, np.uint64) & np.uint64(differing)
    order = np.lexsort((mix(keys + np.uint64(3)), places))
    parts = (places[:n].copy(), keys[:n].copy()), (places[n:].copy(), keys[n:].copy())
    ordered = merged(sorted_by_place(parts[0], 3), sorted_by_place(parts[1], 3), 3)
    assert ordered[0].tolist() == places[order].tolist()
    assert ordered[1].tolist() == keys[order].tolist()


def test_ids_of_one_place_are_in_the_order_of_their_whole_ties() -> None:
    keys = np.arange(100, dtype=np.uint64)
    _, ordered = sorted_by_place((np.full(100, 7, np.uint64), keys), draw=3)
    assert ordered.tolist() == keys[np.argsort(mix(keys + np.uint64(3)))].tolist()


def test_equals_replace_each_other_rather_than_the_same_hashes_staying_for_ever() -> None:
    capacity = 1000
    store = LocalStore([Table("t", 1, capacity=capacity)])
    for start in range(0, 10 * capacity, 50):
        store.lookup("t", np.arange(start, start + 50, dtype=np.uint64), now=0)
    first, last = (np.arange(start, start + capacity, dtype=np.uint64) for start in (0, 9 * capacity))
    assert (store.peek("t", first).rows_N >= 0).mean() < 0.01
    assert (store.peek("t", last).rows_N >= 0).mean() > 0.4
