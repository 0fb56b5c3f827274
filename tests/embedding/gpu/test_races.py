"""Races between programs: every interleaving of the protocol's model, and the kernel interrupted at each atomic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import product
from typing import Any

import pytest
import torch

from tests.embedding.gpu.conftest import INTERPRETED
from tests.embedding.gpu.protocol import Variant, begin, explore
from tests.embedding.gpu.reference import Checked

RINGS = ["....", "-.-.", "x-.-", "--x.", "-x-y", "x..-"]
LANES = ["a0 a0", "a0 a0 a0", "a0 a0 b0", "a1 b0 b0", "a3 b3 a3", "a0 b0 c0", "a2 b1 c2"]


@pytest.mark.parametrize("ring", RINGS)
def test_in_every_interleaving_each_id_gets_one_row(ring: str) -> None:
    room = sum(letter in ".-" for letter in ring)
    for lanes, free in product(LANES, range(room + 1)):
        states, final, wrong = explore(begin(ring, lanes, free))
        assert not wrong, f"{lanes} with {free} free rows: {wrong}"
        assert states > final > 0


def test_in_every_interleaving_of_four_lanes_at_the_last_row() -> None:
    for ring, lanes, free in [("-.-.", "a0 b0 a0 b0", 1), ("....", "a0 b0 c0 a0", 2), ("-x-.", "a0 b2 b2 a0", 1)]:
        states, _, wrong = explore(begin(ring, lanes, free))
        assert not wrong
        assert states > 1000


@pytest.mark.parametrize("variant", ["no compare-and-swap", "row before slot"])
def test_the_search_finds_what_is_wrong_with_other_protocols(variant: Variant) -> None:
    assert not explore(begin("-.-.", "a0 b0 a0", 2))[2]
    assert explore(begin("-.-.", "a0 b0 a0", 2), variant)[2]


@contextmanager
def interrupted(at: int, by: Callable[[], None]) -> Iterator[None]:
    """Let the interpreter run `by` just before its `at`-th atomic operation."""
    from triton.runtime.interpreter import interpreter_builder as builder

    done = 0

    def wrap(name: str) -> Callable[..., Any]:
        original = getattr(builder, name)

        def operation(*arguments: Any) -> Any:
            nonlocal done
            done += 1
            if done == at + 1:  # by's own atomics count on from here
                place, grid = builder.grid_idx, builder.grid_dim
                by()
                builder.grid_idx, builder.grid_dim = place, grid
            return original(*arguments)

        return operation

    with pytest.MonkeyPatch.context() as patch:
        for name in ("create_atomic_cas", "create_atomic_rmw"):
            patch.setattr(builder, name, wrap(name))
        yield


RACES = {
    "the same ids": (list(range(6)), list(range(6)), 40),
    "overlapping ids": (list(range(8)), list(range(4, 12)), 40),
    "the last rows": (list(range(6)), list(range(3, 9)), 7),
    "one id": ([5] * 7, [5] * 3, 40),
    "more ids than rows": (list(range(5)), list(range(20, 25)), 4),
}


@pytest.mark.skipif(not INTERPRETED, reason="the interpreter is what can be interrupted")
@pytest.mark.parametrize(("first", "second", "capacity"), RACES.values(), ids=RACES.keys())
def test_a_program_overtaken_by_another_at_any_atomic(first: list[int], second: list[int], capacity: int) -> None:
    checked = Checked(capacity, "cpu", block=16)
    checked.insert(list(range(100, 104)))
    checked.insert([102, 103], minute=1)
    checked.expire(1)  # tombstones on the way
    overtaken = 0
    while race(deepcopy(checked), first, second, overtaken):
        overtaken += 1
    assert overtaken >= 3, "before a swap, before the draw of rows, and before the count of slots"


def race(checked: Checked, first: list[int], second: list[int], at: int) -> bool:
    """Insert `first`, overtaken at its `at`-th atomic by a program with `second`, and check both.

    Returns whether there were that many atomics; else `second` comes after it.
    """
    table = checked.table
    batches = [checked.tensor(first), checked.tensor(second)]
    rows = [torch.full_like(ids, -1) for ids in batches]
    new: list[torch.Tensor] = []
    with interrupted(at, lambda: new.append(table._claim(batches[1], rows[1], 2))):
        mine = table._claim(batches[0], rows[0], 2)
    overtaken = bool(new)
    if not overtaken:
        new.append(table._claim(batches[1], rows[1], 2))
    for ids, answer in zip(batches, rows, strict=True):
        table._touch(ids, answer, 2, last=True)
    checked.reference.find_or_insert(first + second, 2, torch.cat(rows).tolist(), torch.cat([mine, new[0]]).tolist())
    checked.compare()
    return overtaken


def test_many_programs_insert_the_same_ids(device: str) -> None:
    checked = Checked(100, device, block=32)
    batch = [one % 37 for one in range(300)] + [5] * 100
    checked.insert(batch)
    checked.insert([one + 20 for one in batch], minute=1)
