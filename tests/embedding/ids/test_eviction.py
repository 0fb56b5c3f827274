"""Eviction in the order of a full sort, whatever happened since the list was made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.hashing import mix
from embedding.ids.id_table import IdTable
from embedding.store import Ids


def coldest(table: IdTable, n: int, pinned: set[int]) -> list[int]:
    ids, packed = table.entries()
    order = np.lexsort((mix(ids), packed & np.uint64(0xFFFFFFFF)))
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
    table, minute = IdTable(capacity), 100
    for _ in range(data.draw(st.integers(3, 15))):
        minute = max(1, minute + data.draw(st.integers(-3, 3)))
        rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
        ids = rng.integers(0, 2 * capacity, data.draw(st.integers(0, capacity // 2))).astype(np.uint64)
        table.find_or_insert(ids, minute)
        if data.draw(st.booleans()):
            ids, packed = table.entries()
            held = set(rng.permutation(table.unpack(packed).rows_U)[: len(packed) // 5].tolist())
            n = data.draw(st.integers(0, max(1, len(table) // 10)))
            expected = coldest(table, n, held)
            gone, rows = table.evict(n, pins(held, capacity))
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


def test_a_stream_of_new_ids_lists_the_table_once_in_a_while() -> None:
    table = IdTable(100_000)
    listed, slices = 0, table.slices

    def counted() -> Iterator[tuple[Ids, Ids]]:
        nonlocal listed
        listed += 1
        return slices()

    table.slices = counted  # type: ignore[method-assign]
    table.find_or_insert(np.arange(100_000, dtype=np.uint64), minute=0)
    for step in range(1, 101):
        assert len(table.evict(1000)[0]) == 1000
        table.find_or_insert(np.arange(1000, dtype=np.uint64) + np.uint64(10**6 + 1000 * step), minute=step)
    assert len(table) == 100_000
    assert 0 < listed <= 3 * 20
