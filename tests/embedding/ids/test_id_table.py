from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.hashing import mix
from embedding.ids.id_table import IdTable
from embedding.ids.segments import LOAD
from embedding.store import Ids
from recsys.errors import InvalidValueError


def many(n: int, start: int = 0) -> Ids:
    return mix(np.arange(start, start + n, dtype=np.uint64))


def unmixed(z: Ids) -> Ids:
    """Ids whose mixed ids are `z`: what an adversary would compute."""
    z = (z ^ (z >> np.uint64(31)) ^ (z >> np.uint64(62))) * np.uint64(0x319642B2D24D8EC3)
    z = (z ^ (z >> np.uint64(27)) ^ (z >> np.uint64(54))) * np.uint64(0x96DE1B173F119089)
    ids: Ids = (z ^ (z >> np.uint64(30)) ^ (z >> np.uint64(60))) - np.uint64(0x9E3779B97F4A7C15)
    return ids


def check(table: IdTable, ids: Ids) -> None:
    """The table holds exactly these ids, each with a row of its own."""
    rows = table.find(ids)
    assert rows.min(initial=0) >= 0
    assert len(np.unique(rows)) == len(ids) == len(table)
    assert sorted(table.entries()[0].tolist()) == sorted(ids.tolist())
    assert table.segments.probe_lengths(64).sum() == len(ids)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 7, 1000, 100_000])
def test_it_grows_to_its_capacity_and_refuses_one_more(batch: int) -> None:
    n = 300 if batch == 1 else 100_000
    table, ids = IdTable(n), many(n)
    for begin in range(0, n, batch):
        rows, new = table.find_or_insert(ids[begin : begin + batch], minute=5)
        assert len(new) == len(rows)
    check(table, ids)
    rows, new = table.find_or_insert(many(3, start=n), minute=5)
    assert (rows.tolist(), new.tolist()) == ([-1, -1, -1], [])
    check(table, ids)


def test_a_full_table_takes_at_most_24_bytes_an_id() -> None:
    n = 1_000_000
    table = IdTable(n)
    for begin in range(0, n, 50_000):
        table.find_or_insert(many(50_000, begin), minute=0)
    assert table.nbytes / n <= 24
    assert LOAD - 0.01 < table.load <= 0.7
    assert table.segments.probe_lengths()[0] > 0.85 * n


@pytest.mark.parametrize("where", [0, 2**64 - 2**40, 0xABCDEF << 32])
def test_ids_made_to_collide_only_cost_time(where: int) -> None:
    """All mixed ids within 2^40 of each other: one segment, a handful of home lines."""
    close = np.uint64(where) + (np.arange(3000, dtype=np.uint64) << np.uint64(10))
    table, ids = IdTable(4000), unmixed(close)
    np.testing.assert_array_equal(mix(ids), close)
    table.find_or_insert(ids, minute=0)
    check(table, ids)
    assert len(table.expire(1)[0]) == 3000
    table.find_or_insert(ids[:100], minute=2)
    check(table, ids[:100])


def test_the_ids_that_stand_for_an_empty_slot_can_be_held() -> None:
    ids = unmixed(np.array([0, 2**64 - 1, 1, 2**63, 2**63 - 1], np.uint64))
    table = IdTable(10)
    assert table.find(ids).tolist() == [-1] * 5
    table.find_or_insert(ids, minute=0)
    check(table, ids)
    table.expire(1)
    assert table.find(ids).tolist() == [-1] * 5


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_it_is_a_dict_through_any_history(data: st.DataObject) -> None:
    capacity = data.draw(st.sampled_from([5, 60, 3000]))
    table, minute = IdTable(capacity), 0
    model: dict[int, int] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        minute += data.draw(st.integers(0, 3))
        seed, spread = data.draw(st.integers(0, 10**6)), data.draw(st.sampled_from([10, 500, 10**6]))
        drawn = np.random.default_rng(seed).integers(0, spread, data.draw(st.integers(0, 700)))
        ids = drawn.astype(np.uint64) << np.uint64(data.draw(st.sampled_from([0, 32, 40])))
        table.find_or_insert(ids, minute)
        for key in ids.tolist():
            if key in model or len(model) < capacity:
                model[key] = minute
        match data.draw(st.sampled_from(["nothing", "expire", "evict", "shrink"])):
            case "expire":
                gone, _ = table.expire(minute - 1)
                assert sorted(gone.tolist()) == sorted(key for key, seen in model.items() if seen < minute - 1)
                model = {key: seen for key, seen in model.items() if seen >= minute - 1}
            case "evict":
                gone, _ = table.evict(min(3, len(model)))
                assert len(gone) == min(3, len(model))
                oldest = sorted(model.values())[: len(gone)]
                assert sorted(model.pop(key) for key in gone.tolist()) == oldest
            case "shrink":
                sum(table.shrinking())
        check(table, np.array(sorted(model), np.uint64))


def test_last_seen_and_frequency_are_kept() -> None:
    table = IdTable(100)
    table.find_or_insert(np.array([1, 1, 2], np.uint64), minute=100)
    table.lookup_and_touch(np.array([2], np.uint64), np.array([300], np.int32), minute=90)
    ids, packed = table.entries()
    seen = dict(zip(ids.tolist(), table.unpack(packed).minutes_U.tolist(), strict=True))
    freq = dict(zip(ids.tolist(), table.unpack(packed).freqs_U.tolist(), strict=True))
    assert (seen, freq) == ({1: 100, 2: 100}, {1: 2, 2: 255})


def test_threads_do_what_one_does() -> None:
    one, two = IdTable(50_000), IdTable(50_000, threads=2)
    for step in range(6):
        ids = many(20_000, start=step * 5000)
        counts = np.ones(len(ids), np.int32)
        for table in (one, two):
            rows, missing = table.lookup_and_touch(ids, counts, step)
            assert missing.tolist() == np.flatnonzero(rows < 0).tolist()
            table.insert(ids, counts, step, rows, missing)
    for mine, theirs in zip(one.entries(), two.entries(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_freed_rows_are_used_again_before_new_ones() -> None:
    table = IdTable(10)
    table.find_or_insert(np.arange(6, dtype=np.uint64), minute=0)
    _, freed = table.evict(4)
    rows, _ = table.find_or_insert(np.arange(50, 54, dtype=np.uint64), minute=1)
    assert sorted(rows.tolist()) == sorted(freed.tolist())


def test_pinned_rows_are_never_evicted() -> None:
    table = IdTable(100)
    rows, _ = table.find_or_insert(np.arange(80, dtype=np.uint64), minute=0)
    pinned = np.zeros(2, np.uint64)
    for row in rows[:5]:
        pinned[row // 64] |= np.uint64(1 << (int(row) % 64))
    gone, _ = table.evict(79, pinned)
    assert sorted(gone.tolist()) == list(range(5, 80))


def test_shrinking_gives_memory_back_and_loses_nothing() -> None:
    table = IdTable(200_000)
    table.find_or_insert(many(200_000), minute=0)
    full = table.nbytes
    kept = many(1000)
    table.lookup_and_touch(kept, np.ones(1000, np.int32), minute=9)
    table.expire(5)
    assert sum(table.shrinking()) > full / 2
    check(table, kept)
    table.find_or_insert(many(50_000, start=10**6), minute=9)
    check(table, np.concatenate([kept, many(50_000, start=10**6)]))


@pytest.mark.parametrize(("capacity", "threads"), [(0, 1), (1 << 31, 1), (5, 0)])
def test_sizes_that_cannot_work_are_refused(capacity: int, threads: int) -> None:
    with pytest.raises(InvalidValueError, match="choose"):
        IdTable(capacity, threads)


def test_time_may_move_on_by_decades() -> None:
    """The table tells 32 years apart; older sightings become the oldest there are, and stay in order among the rest."""
    year = 366 * 24 * 60
    table = IdTable(capacity=100)
    for age, one in ((0, 1), (20, 2), (31, 3)):
        table.find_or_insert(np.array([one], np.uint64), minute=age * year)
    assert table.find(np.array([1, 2, 3], np.uint64)).tolist() == [0, 1, 2]
    gone, _ = table.expire(before=19 * year)
    assert gone.tolist() == [1]
    gone, _ = table.expire(before=21 * year)
    assert gone.tolist() == [2]
    with pytest.raises(InvalidValueError, match="check its unit"):
        table.find_or_insert(np.array([4], np.uint64), minute=200 * year)


def test_an_event_ten_years_before_the_first_one_is_as_old_as_it_is() -> None:
    """A log that is read from its live end first, then from its beginning."""
    year = 366 * 24 * 60
    table = IdTable(100)
    table.find_or_insert(np.array([1], np.uint64), minute=50 * year)
    table.find_or_insert(np.array([2], np.uint64), minute=40 * year)
    assert table.expire(before=40 * year)[0].tolist() == []
    assert table.expire(before=40 * year + 1)[0].tolist() == [2]


def test_an_expiry_that_decades_go_by_in_takes_no_later_id() -> None:
    year = 366 * 24 * 60
    table, ids = IdTable(100), np.arange(50, dtype=np.uint64)
    table.find_or_insert(ids, minute=0)
    steps = table.expiring(before=20 * year)
    gone = next(steps)[0].tolist()
    table.find_or_insert(ids, minute=35 * year)
    gone += [one for step in steps for one in step[0].tolist()]
    assert 0 < len(gone) < 50
    assert len(table) == 50


def test_an_old_id_that_comes_after_an_expiry_is_found_by_the_next_at_the_same_minute() -> None:
    table = IdTable(100)
    table.find_or_insert(np.arange(10, dtype=np.uint64), minute=50)
    assert len(table.expire(before=60)[0]) == 10
    assert len(table.expire(before=60)[0]) == 0
    table.find_or_insert(np.arange(20, 25, dtype=np.uint64), minute=55)  # a late event
    assert sorted(table.expire(before=60)[0].tolist()) == [20, 21, 22, 23, 24]


def test_a_restored_old_id_expires() -> None:
    table = IdTable(100)
    table.find_or_insert(np.arange(10, dtype=np.uint64), minute=50)
    table.expire(before=60)
    table.restore(np.array([7, 8], np.uint64), np.array([40, 70]), np.array([1, 1], np.uint8))
    assert table.expire(before=60)[0].tolist() == [7]


def test_a_table_with_room_made_holds_what_one_that_grew_holds() -> None:
    ids, minutes, freqs = many(20_000), np.arange(20_000) % 700, (np.arange(20_000) % 255 + 1).astype(np.uint8)
    grown, roomy = IdTable(20_000), IdTable(20_000)
    roomy.make_room(20_000)
    slots = roomy.segments.slots
    for table in (grown, roomy):
        assert table.restore(ids, minutes, freqs).tolist() == list(range(20_000))
    assert roomy.segments.slots == grown.segments.slots == slots
    for table in (grown, roomy):
        entries = table.take(ids)[1]
        assert entries.minutes_U.tolist() == minutes.tolist()
        assert entries.freqs_U.tolist() == freqs.tolist()
