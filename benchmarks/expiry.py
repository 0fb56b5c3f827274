"""Expiry of a share of the ids: ids per second, and the longest pause for training."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._ids import BATCH, live_ids
from benchmarks.harness import Result, Target, median
from embedding.ids.id_table import IdTable
from embedding.store import Ids

SHARES = (0.2, 0.5, 1.0)


def aged(ids: Ids, stale: int) -> IdTable:
    """A full table whose first `stale` ids were seen long ago."""
    table = IdTable(len(ids))
    for begin in range(0, len(ids), BATCH):
        table.find_or_insert(ids[begin : begin + BATCH], minute=10 if begin < stale else 200)
    return table


def sweep(table: IdTable) -> tuple[float, float, int]:
    """CPU seconds in all and of the longest step, and the number of expired ids."""
    total, longest, gone = 0.0, 0.0, 0
    steps = table.expiring(before=100)
    while True:
        start = time.process_time()
        step = next(steps, None)
        taken = time.process_time() - start
        if step is None:
            return total, longest, gone
        total, longest, gone = total + taken, max(longest, taken), gone + len(step[0])


def growth(ids: Ids) -> float:
    """The longest single step of growing, in seconds."""
    table, longest = IdTable(len(ids)), 0.0
    grow = table.segments.grow

    def timed(segment: int) -> None:
        nonlocal longest
        start = time.process_time()
        grow(segment)
        longest = max(longest, time.process_time() - start)

    table.segments.grow = timed  # type: ignore[method-assign]
    for begin in range(0, len(ids), BATCH):
        table.find_or_insert(ids[begin : begin + BATCH], minute=0)
    return longest


def run(quick: bool) -> Result:
    """1 M ids when quick, else 10 M."""
    live, rounds = (1_000_000, 3) if quick else (10_000_000, 5)
    ids = np.random.default_rng(7).permutation(live_ids(live))
    sweep(aged(ids[:BATCH], BATCH))  # compiled and warm
    raw: dict[str, Any] = {"live": live}
    targets, pauses = [], []
    for share in SHARES:
        runs = [sweep(aged(ids, int(live * share))) for _ in range(rounds)]
        rates = [gone / total / 1e6 for total, _, gone in runs]
        pauses += [longest * 1e3 for _, longest, _ in runs]
        raw[f"{share:.0%} stale, M ids/s"] = rates
        targets.append(Target(f"{share:.0%} of ids stale: M expired ids/s", median(rates), 30))
    grown = [growth(ids) * 1e3 for _ in range(rounds)]
    raw |= {"longest sweep step of each run, ms": pauses, "longest growth step of each run, ms": grown}
    targets.append(Target("longest pause of expiry, ms of CPU (median run)", median(pauses), 2, "lower"))
    targets.append(Target("longest pause of growth, ms of CPU (median run)", median(grown), 2, "lower"))
    return Result("expiry", targets, raw)
