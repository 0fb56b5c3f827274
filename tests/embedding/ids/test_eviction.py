"""Eviction in the order of a full sort, whatever happened since the list was made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.hashing import mix
from embedding.ids.id_table import IdTable
from embedding.local.store import LocalStore
from embedding.store import Ids, Table


def coldest(table: IdTable, n: int, pinned: set[int], draw: int) -> list[int]:
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
            expected = coldest(table, n, held, draw)
            gone, rows = table.evict(n, pins(held, capacity), draw)
            assert gone.tolist() == expected
            assert len(set(rows.tolist())) == len(rows)
            assert (table.find(gone) == -1).all()
            kept = np.setdiff1d(ids, gone)
            assert (table.find(kept) >= 0).all()
            assert len(np.unique(table.find(kept))) == len(kept) == len(table)
        if data.draw(st.integers(0, 5)) == 0:
            table.expire(minute - 2)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0, 0xABCDEF << 32, 2**64 - 2**40]))
def test_removing_single_ids_leaves_all_others_in_reach(seed: int, where: int) -> None:
    """Crowded: all ids share a few home lines, so that most lie far from home."""
    z = np.uint64(where) + (np.arange(400, dtype=np.uint64) << np.uint64(26))
    z = (z ^ (z >> np.uint64(31)) ^ (z >> np.uint64(62))) * np.uint64(0x319642B2D24D8EC3)
    z = (z ^ (z >> np.uint64(27)) ^ (z >> np.uint64(54))) * np.uint64(0x96DE1B173F119089)
    ids = (z ^ (z >> np.uint64(30)) ^ (z >> np.uint64(60))) - np.uint64(0x9E3779B97F4A7C15)
    table = IdTable(500)
    table.find_or_insert(ids, minute=0)
    order = np.random.default_rng(seed).permutation(ids)
    for begin in range(0, 400, 50):
        table.remove(order[begin : begin + 50])
        assert (table.find(order[: begin + 50]) == -1).all()
        left = table.find(order[begin + 50 :])
        assert left.min(initial=0) >= 0
        assert len(np.unique(left)) == len(left) == len(table)


class CountingTable(IdTable):
    """A table that counts the ids that evictions examine."""

    examined = 0

    def slices(self) -> Iterator[tuple[Ids, Ids]]:
        for ids, packed in super().slices():
            self.examined += len(ids)
            yield ids, packed

    def packed(self, ids_N: Ids) -> Ids:
        self.examined += len(ids_N)
        return super().packed(ids_N)


@pytest.mark.parametrize("batches_a_minute", [1, 12, 10**9], ids=["every batch", "every hour", "never"])
def test_a_stream_of_new_ids_costs_the_same_however_rarely_its_clock_moves(batches_a_minute: int) -> None:
    """The size of the table as well as the ids examined, each stated for one id."""
    table, largest = CountingTable(100_000), 0.0
    table.find_or_insert(np.arange(100_000, dtype=np.uint64), minute=0)
    for step in range(500):
        assert len(table.evict(1000, draw=step // 100)[0]) == 1000
        new = np.arange(1000, dtype=np.uint64) + np.uint64(10**6 + 1000 * step)
        table.find_or_insert(new, minute=1 + step // batches_a_minute)
        largest = max(largest, table.nbytes / len(table))
    assert len(table) == 100_000
    assert largest < 24.5
    assert table.examined / 500_000 < 2 * 4 * 16, "four passes a list of a sixteenth, and the few that are new"


def test_equals_replace_each_other_rather_than_the_same_hashes_staying_for_ever() -> None:
    capacity = 1000
    store = LocalStore([Table("t", 1, capacity=capacity)])
    for start in range(0, 10 * capacity, 50):
        store.lookup("t", np.arange(start, start + 50, dtype=np.uint64), now=0)
    first, last = (np.arange(start, start + capacity, dtype=np.uint64) for start in (0, 9 * capacity))
    assert (store.peek("t", first).rows_N >= 0).mean() < 0.01
    assert (store.peek("t", last).rows_N >= 0).mean() > 0.4
