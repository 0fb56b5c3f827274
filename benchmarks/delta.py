"""The cost of deltas: marking changed rows in a step, and exporting them, against the machine's copy rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks._ids import BATCH, DISTRIBUTIONS, batches, live_ids
from benchmarks.harness import Result, Target, interleave, median, ratio
from embedding.delta.change_log import ChangeLog
from embedding.local.store import LocalStore
from embedding.store import Index, Table

NOW = 1_700_000_000_000
DIM = 16


def marking(live: int, kind: str, rounds: int) -> list[float]:
    """Nanoseconds per id to mark the rows that a batch changed."""
    log = ChangeLog(live)
    log.listen("c")
    rows: list[Index] = [batch.astype(np.int32) for batch in batches(np.arange(live, dtype=np.uint64), 10, kind)]

    def mark() -> None:
        for batch in rows:
            log.mark(batch)

    return [seconds / (10 * BATCH) * 1e9 for seconds in interleave({"mark": mark}, rounds)["mark"]]


def exporting(live: int, rounds: int) -> dict[str, list[float]]:
    """Seconds to make a full delta, and to copy as many bytes of rows in order."""
    ids = np.random.default_rng(7).permutation(live_ids(live))
    store = LocalStore([Table("t", DIM, capacity=live)])
    for part in np.array_split(ids, max(1, live // BATCH)):
        store.lookup("t", part, NOW)
    table = store._by_name["t"]
    table.changes.listen("c")
    every = np.arange(live, dtype=np.int32)
    source = np.ones((live, DIM), np.float32)

    def export() -> None:
        table.changes.mark(every)
        table.take_changes("c", full=False)

    return interleave({"export": export, "copy": lambda: source.copy()}, rounds)


def run(quick: bool) -> Result:
    """1 M rows of 16 floats when quick, else 10 M."""
    live, rounds = (1_000_000, 3) if quick else (10_000_000, 5)
    raw: dict[str, Any] = {"live": live, "dim": DIM}
    targets = []
    for kind in DISTRIBUTIONS:
        raw[f"mark, {kind}, ns"] = marking(live, kind, rounds)
        targets.append(Target(f"{kind}: marking, ns an id", median(raw[f"mark, {kind}, ns"]), 1, "lower"))
    seconds = exporting(live, rounds)
    raw |= seconds
    targets.append(Target("export of all rows, share of the copy rate", ratio(seconds["copy"], seconds["export"]), 0.4))
    return Result("delta", targets, raw)
