"""A stream of only new ids into a full table: ids per second, and the slowest batch, whatever the clock says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._ids import BATCH, live_ids
from benchmarks.harness import Result, Target, median
from embedding.local.store import LocalStore
from embedding.store import Table

MINUTE = 60_000
START = 1_700_000_000_000
CLOCKS: dict[str, Callable[[int], int]] = {
    "constant time": lambda batch: START,  # noqa: ARG005
    "a minute a batch": lambda batch: START + batch * MINUTE,
    "an hour each 50": lambda batch: START + batch // 50 * 60 * MINUTE,
}
DIM = 1
"""Eviction is of ids; wider rows add the same to every insertion, evicting or not."""


def churned(capacity: int, clock: Callable[[int], int], batches: int) -> tuple[list[float], LocalStore]:
    """CPU seconds of each batch of new ids once the table is full, and the store."""
    store = LocalStore([Table("t", DIM, capacity=capacity)])
    filling = -(-capacity // BATCH)
    seconds = []
    for number in range(filling + batches):
        ids = live_ids(BATCH, start=number * BATCH)
        start = time.process_time()
        store.lookup("t", ids, clock(number))
        if number >= filling:
            seconds.append(time.process_time() - start)
    return seconds, store


def run(quick: bool) -> Result:
    """A capacity of 500 thousand when quick, else 10 M; each clock evicts twice the capacity."""
    capacity = 500_000 if quick else 10_000_000
    churned(2 * BATCH, CLOCKS["constant time"], 2)  # compiled
    targets: list[Target] = []
    raw: dict[str, Any] = {"capacity": capacity, "batch": BATCH, "dim": DIM}
    for name, clock in CLOCKS.items():
        batches = 2 * capacity // BATCH
        seconds, store = churned(capacity, clock, batches)
        counted = store.counters("t")
        assert counted["live"] <= capacity
        assert counted["evicted"] >= batches * BATCH - BATCH
        assert counted["refused"] == 0
        raw[f"{name}: seconds of each batch"] = [round(s, 6) for s in seconds]
        slowest = max(seconds) / median(seconds)
        targets += [
            Target(f"{name}: M new ids/s, evicting as many", len(seconds) * BATCH / float(np.sum(seconds)) / 1e6, 10),
            Target(f"{name}: slowest batch, times the median", slowest, 5, better="lower"),
        ]
    return Result("eviction", targets, raw)
