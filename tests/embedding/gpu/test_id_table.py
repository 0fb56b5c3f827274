"""The GPU table against plain dictionaries."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.gpu import id_table, kernels, touched
from embedding.gpu.id_table import GpuIdTable
from embedding.hashing import eviction_ties, mix
from embedding.ids.id_table import IdTable
from tests.embedding.gpu.conftest import INTERPRETED
from tests.embedding.gpu.reference import Checked

LOWEST = -(2**63)  # as a 64-bit pattern 2**63
SMALLER = 4 if INTERPRETED else 1
"""What long histories are divided by in the interpreter, which takes milliseconds for what a GPU does in one."""
ADVERSARIAL = {
    "sequential": list(range(200)),
    "multiples of 2**32": [(k << 32) - 2**63 for k in range(200)],
    "equal low bits": [(k << 40) | 0xABCDEF for k in range(200)],
    "ends of the range": [0, 1, -1, -2, LOWEST, LOWEST + 1, 2**63 - 1, 2**63 - 2],
}


def unmixed(words: list[int]) -> list[int]:
    """The ids that mix to these words: those that meet a slot's marker words head on."""
    unmix_2, unmix_3 = 0x96DE1B173F119089, 0x319642B2D24D8EC3
    ids = []
    for z in words:
        z = (z ^ z >> 31 ^ z >> 62) * unmix_3 % 2**64
        z = (z ^ z >> 27 ^ z >> 54) * unmix_2 % 2**64
        z = ((z ^ z >> 30 ^ z >> 60) - 0x9E3779B97F4A7C15) % 2**64
        ids.append(z - 2**64 if z >= 2**63 else z)
    return ids


@pytest.mark.parametrize("n", [0, 1, 7, 1024 // SMALLER - 1, 1024 // SMALLER + 1])
def test_any_number_of_ids(n: int, device: str) -> None:
    generator = np.random.default_rng(n)
    ids = generator.integers(-(2**63), 2**63, n).tolist()
    checked = Checked(2000, device)
    assert sorted(checked.insert(ids)) == list(range(n))
    checked.insert(ids + ids, minute=1)
    assert checked.table.find(checked.tensor([5, 6, *ids]))[2:].tolist() == checked.insert(ids, minute=1)


@pytest.mark.parametrize("ids", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_every_id_is_legal(ids: list[int], device: str) -> None:
    checked = Checked(len(ids), device)
    assert checked.table.find(checked.tensor(ids)).tolist() == [-1] * len(ids)
    checked.insert(ids)
    checked.insert(ids[::-1], minute=3)
    checked.expire(4)
    checked.insert(ids, minute=5)


def test_ids_that_mix_to_the_marker_words_are_like_any_other(device: str) -> None:
    ids = unmixed([0, 1, 2, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1])
    assert mix(np.array(ids, np.int64).view(np.uint64)).tolist()[-1] == 2**64 - 1
    checked = Checked(8, device)
    checked.insert(ids)
    checked.expire(1)
    checked.insert(ids[::-1])


def test_ids_that_crowd_into_one_home_spill_round_the_ring(device: str) -> None:
    ids = unmixed([2**63 - 1 - k for k in range(40)] + [2**64 - 1 - k for k in range(40)])
    checked = Checked(100, device)
    checked.insert(ids)
    assert checked.table.probe_lengths(50)[40:].sum() == 0
    assert checked.table.probe_lengths(50)[1:40].tolist() == [2] * 39
    checked.insert(ids[::3], minute=1)
    checked.expire(1)  # holes in the chain do not break it
    assert len(checked.table) == 27
    checked.insert(ids[::2], minute=1)


def test_inserts_take_tombstones_again(device: str) -> None:
    ids = unmixed([2**63 + k for k in range(30)])  # one home for all
    checked = Checked(100, device)
    checked.insert(ids[:10])
    checked.expire(1)
    assert checked.table.tombstones == 10
    checked.insert(ids[10:17], minute=1)
    assert checked.table.tombstones == 3
    checked.insert(ids[17:], minute=1)
    assert checked.table.tombstones == 0
    checked.insert(ids[10:], minute=2)


@pytest.mark.parametrize("block", [32, 256])
def test_more_ids_in_one_ring_than_it_has_slots_take_every_row(block: int, device: str) -> None:
    ids = unmixed([k * 2**56 for k in range(60)])
    checked = Checked(40, device, block=block)
    assert checked.insert(ids).count(-1) == 20
    checked.expire(1)
    assert checked.insert(ids[::-1]).count(-1) == 20


@pytest.mark.parametrize("copies", [2, 300, 1025])
def test_one_id_many_times_in_a_batch_gets_one_row(copies: int, device: str) -> None:
    checked = Checked(10, device)
    assert checked.insert([42] * copies) == [0] * copies
    assert checked.reference.entries[42].frequency == min(255, copies)


def test_duplicates_among_others(device: str) -> None:
    checked = Checked(500, device)
    ids = np.random.default_rng(0).integers(0, 100, 600).tolist()
    checked.insert(ids)
    checked.insert([one + 50 for one in ids], minute=2)


def test_a_full_table_refuses_each_id_and_counts_it(device: str) -> None:
    checked = Checked(50, device)
    rows = checked.insert(list(range(80)))
    assert rows.count(-1) == 30
    assert checked.insert(list(range(100, 140))) == [-1] * 40
    assert checked.insert([0, 1, 2, 200], minute=1)[3] == -1
    assert checked.table.refused == 30 + 40 + sum(rows[k] < 0 for k in range(3)) + 1
    checked.expire(1)
    assert -1 not in checked.insert(list(range(300, 340)), minute=2)


@pytest.mark.parametrize("ids", [ADVERSARIAL["sequential"], ADVERSARIAL["multiples of 2**32"]], ids=["low", "high"])
def test_expire_refill_cycles_at_full_capacity(ids: list[int], device: str) -> None:
    checked = Checked(40, device)
    for cycle in range(12 // SMALLER):
        batch = [one + 1000 * cycle for one in ids[:60]]
        checked.insert(batch, minute=cycle)
        assert len(checked.table) == 40
        checked.insert(batch[::2], minute=cycle)
        checked.expire(cycle + 1)
        assert len(checked.table) == 0


def test_expiry_spares_the_ids_seen_since(device: str) -> None:
    checked = Checked(300, device)
    checked.insert(list(range(200)), minute=5)
    checked.insert(list(range(0, 200, 3)), minute=9)
    checked.insert(list(range(0, 200, 7)), minute=2)  # a late event does not make an id older
    checked.expire(9)
    assert len(checked.table) == 67
    checked.expire(9)


def test_eviction_takes_the_coldest(device: str) -> None:
    checked = Checked(100, device)
    checked.insert(list(range(60)), minute=1)
    checked.insert(list(range(20)), minute=1)
    checked.insert(list(range(10)), minute=2)
    for n in (0, 25, 20, 1, 1000):
        checked.evict(n)
    assert len(checked.table) == 0


def test_removing_ids_spares_all_others_and_frees_their_rows(device: str) -> None:
    checked = Checked(90, device)
    checked.insert(list(range(90)), minute=1)
    checked.remove([])
    checked.remove([5, 300, 5, 64, *range(30, 60), -1])  # twice, never seen, and enough for tombstones in every chain
    assert len(checked.table) == 58
    assert checked.table.tombstones == 32
    checked.remove([5, 64])  # gone already
    rows = checked.insert(list(range(1000, 1032)), minute=2)
    assert min(rows) >= 0
    checked.remove(list(range(2000)))
    assert len(checked.table) == 0


def test_growth_keeps_every_id_row_and_sighting(device: str) -> None:
    rows, step = (700, 140) if INTERPRETED else (1500, 300)
    checked = Checked(rows, device, block=256)
    first = checked.table.slots
    for k in range(4):
        checked.insert(list(range(k * step, k * step + step)), minute=k)
    assert checked.table.slots > first
    assert checked.table.load <= 0.5
    checked.insert(list(range(rows + 200)), minute=9)
    assert len(checked.table) == rows
    assert checked.table.load >= 0.49


def test_tombstones_are_cleared_by_a_rebuild_of_the_same_size(device: str) -> None:
    checked = Checked(100, device, block=256)
    slots, most = checked.table.slots, 0
    for cycle in range(7):
        checked.insert(list(range(cycle * 100, cycle * 100 + 100)), minute=cycle)
        checked.expire(cycle + 1)
        most = max(most, checked.table.tombstones)
    assert checked.table.slots == slots
    assert 0 < checked.table.tombstones <= most < slots * 3 // 4


def test_shrinking_gives_back_what_expiry_left(device: str) -> None:
    most = 1500 // SMALLER * 2
    checked = Checked(most, device)
    checked.insert(list(range(most * 2 // 3)), minute=1)
    checked.insert(list(range(100)), minute=2)
    wide = checked.table.nbytes
    checked.expire(2)
    checked.table.shrink()
    checked.compare()
    assert checked.table.nbytes < wide
    assert checked.table.tombstones == 0
    checked.insert(list(range(50, most * 3 // 5)), minute=3)


@pytest.mark.parametrize("capacity", [300, 40])
def test_restore_brings_back_ids_with_their_priorities(capacity: int, device: str) -> None:
    checked = Checked(100, device)
    checked.insert(list(range(60)) + [7] * 300, minute=-5)
    checked.insert(list(range(30)), minute=2)
    ids, _, priorities = checked.table.entries()
    other = GpuIdTable(capacity, device=device)
    rows = other.restore(ids, priorities)
    assert (rows < 0).sum() == max(0, 60 - capacity) == other.refused
    known = dict(zip(ids.tolist(), priorities.tolist(), strict=True))
    found_ids, found_rows, found_priorities = other.entries()
    assert len(found_ids) == min(60, capacity)
    assert found_priorities.tolist() == [known[one] for one in found_ids.tolist()]
    assert other.find(found_ids).tolist() == found_rows.tolist()


def test_it_lives_through_the_same_history_as_the_cpu_table(device: str) -> None:
    generator = np.random.default_rng(3)
    cpu, gpu = IdTable(4000), GpuIdTable(4000, device=device, block=256)
    for minute in range(6):
        ids = (generator.integers(0, 400 // SMALLER, 300 // SMALLER) << 33) - 2**60
        tensor, unsigned = torch.from_numpy(ids).to(device), ids.view(np.uint64)
        rows, new = gpu.find_or_insert(tensor, minute)
        expected, positions = cpu.find_or_insert(unsigned, minute)
        assert int(new.sum()) == len(positions)
        assert len(set(zip(rows.tolist(), expected.tolist(), strict=True))) == len(set(ids.tolist()))
        gone, dropped = (gpu.expire, cpu.expire) if minute % 2 else (gpu.evict, cpu.evict)
        number = minute - 1 if minute % 2 else 70 // SMALLER
        assert set(gone(number)[0].tolist()) == set(dropped(number)[0].view(np.int64).tolist())
        assert len(gpu) == len(cpu) > 0


def test_find_leaves_no_trace(device: str) -> None:
    checked = Checked(100, device)
    checked.insert([1, 2, 3], minute=1)
    checked.table.find(checked.tensor([1, 1, 2, 9]))
    checked.compare()


def test_uint64_ids_are_the_same_bits(device: str) -> None:
    table = GpuIdTable(10, device=device, block=32)
    ids = torch.tensor([2**64 - 1, 7], dtype=torch.uint64, device=device)
    rows, _ = table.find_or_insert(ids, 0)
    assert table.find(torch.tensor([-1, 7], device=device)).tolist() == rows.tolist()


def test_ties_of_evictions_are_those_of_the_cpu_table(device: str) -> None:
    ids = np.random.default_rng(1).integers(-(2**63), 2**63, 1025)
    ties = torch.empty(1025, dtype=torch.int64, device=device)
    kernels.eviction_ties[(1,)](torch.from_numpy(ids).to(device), ties, 1025, BLOCK=2048)
    assert (ties.cpu().numpy().view(np.uint64) == eviction_ties(ids.view(np.uint64), draw=0)).all()


def test_most_ids_lie_in_the_first_slot_read(device: str) -> None:
    ids = list(range(1024))
    checked = Checked(1024, device, block=512)
    checked.insert(ids)
    lengths = checked.table.probe_lengths().tolist()
    assert sum(lengths) == 1024
    assert lengths[0] > 600, "linear probing at load 0.5: 75 % on average over the filling"


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(3, dtype=torch.int32), "int64 or uint64"),
        (torch.zeros(3), "int64 or uint64"),
        (torch.zeros(3, 1, dtype=torch.int64), "one dimension"),
        (torch.zeros(3, dtype=torch.int64, device="meta"), "move them to"),
    ],
)
def test_wrong_ids_are_refused_before_anything_changes(ids: torch.Tensor, message: str, device: str) -> None:
    table = GpuIdTable(10, device=device)
    with pytest.raises(ValueError, match=message):
        table.find_or_insert(ids.to(device) if ids.device.type == "cpu" else ids, 0)
    assert len(table) == 0


def test_a_time_in_the_wrong_unit_is_refused(device: str) -> None:
    table = GpuIdTable(10, device=device)
    with pytest.raises(ValueError, match="check its unit"):
        table.find_or_insert(torch.zeros(1, dtype=torch.int64, device=device), minute=1_700_000_000_000)
    with pytest.raises(ValueError, match="check its unit"):
        table.expire(1_700_000_000_000)


@pytest.mark.parametrize("arguments", [{"capacity": 0}, {"capacity": 2**31}, {"capacity": 5, "block": 48}])
def test_impossible_sizes_are_refused(arguments: dict[str, int], device: str) -> None:
    with pytest.raises(ValueError, match="choose"):
        GpuIdTable(device=device, **arguments)


@settings(max_examples=15 if INTERPRETED else 200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("insert"), st.lists(st.integers(0, 40), max_size=30)),
            st.tuples(st.just("remove"), st.lists(st.integers(0, 40), max_size=30)),
            st.tuples(st.just("expire"), st.integers(0, 3)),
            st.tuples(st.just("evict"), st.integers(0, 12)),
        ),
        max_size=8,
    ),
    st.integers(1, 30),
)
def test_any_sequence_of_calls_equals_the_dictionary(steps: list[tuple[str, object]], capacity: int) -> None:
    checked = Checked(capacity, "cpu" if INTERPRETED else "cuda")
    for minute, (call, argument) in enumerate(steps):
        if isinstance(argument, list):
            checked.insert(argument, minute) if call == "insert" else checked.remove(argument)
        elif call == "expire":
            assert isinstance(argument, int)
            checked.expire(minute - argument)
        else:
            assert isinstance(argument, int)
            checked.evict(argument)


@pytest.mark.parametrize("module", [id_table, touched])
def test_the_examples_in_the_docstrings(module: object, device: str) -> None:
    finder, runner = doctest.DocTestFinder(recurse=True), doctest.DocTestRunner()
    ran = 0
    for test in finder.find(module, globs=dict(vars(module))):
        for example in test.examples:
            example.options.pop(doctest.SKIP, None)  # skipped where there is neither a GPU nor the interpreter
            example.source = example.source.replace('"cuda"', repr(device))
            ran += 1
        assert runner.run(test).failed == 0
    assert ran > 0
