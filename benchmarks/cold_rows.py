"""Ids for ten times the rows that memory holds: a table with rows on disk, beside one in memory and beside SQLite.

The peer is what one would write without us: rows in an LRU cache in memory, in front of an embedded store that each
batch reads and writes. It has neither durability to pay for (no journal, no sync) nor clocks or frequencies to keep.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ids import DISTRIBUTIONS, batches, live_ids
from benchmarks.harness import ROOT, Result, Target
from embedding.ids.distinct_ids import Deduplicator
from embedding.local.store import LocalStore
from embedding.store import Floats, Ids, Optimizer, Table

DIM, BATCH, TIMES = 32, 16_384, 10
MINUTE = 60_000
RULE = Optimizer("rowwise_adagrad", lr=0.05, eps=1e-8)
SHARES = {"zipf": 0.3, "uniform": 0.1}
"""Of the rate of a table in memory, to be reached."""


def stored(warm: int, cold: int, folder: str) -> LocalStore:
    return LocalStore([Table("t", DIM, capacity=warm, cold_capacity=cold, optimizer=RULE)], cold_folder=folder)


class StoreSide:
    """One of our stores, a minute of event time a batch."""

    def __init__(self, store: LocalStore) -> None:
        self.store, self._minute = store, 0

    def step(self, ids_N: Ids, grads_ND: Floats) -> None:
        self._minute += 1
        found = self.store.lookup("t", ids_N, self._minute * MINUTE)
        self.store.update(found, grads_ND[: len(ids_N)])


class SqliteSide:
    """An LRU of `capacity` rows in front of a table of rows by id. A row is its values, then its Adagrad state."""

    def __init__(self, capacity: int, folder: str) -> None:
        self._rows = np.zeros((capacity, DIM + 1), np.float32)
        self._slots: OrderedDict[int, int] = OrderedDict()
        self._free = list(range(capacity))
        self._deduplicator = Deduplicator()
        self._disk = sqlite3.connect(f"{folder}/rows.sqlite", isolation_level=None)
        self._disk.executescript(
            "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA mmap_size = 1099511627776;"
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB); CREATE TEMP TABLE wanted (id INTEGER PRIMARY KEY);"
        )

    def step(self, ids_N: Ids, grads_ND: Floats) -> None:
        distinct = self._deduplicator.distinct(ids_N)
        slots_U = self._look_up(distinct.unique_U.tolist())
        _ = self._rows[slots_U, :DIM][distinct.inverse_N]  # what the model reads
        sums_UD = np.zeros((len(slots_U), DIM), np.float32)
        np.add.at(sums_UD, distinct.inverse_N, grads_ND[: len(ids_N)])
        rows_U = self._rows[slots_U]
        rows_U[:, DIM] += np.square(sums_UD).mean(axis=1)
        rows_U[:, :DIM] -= RULE.lr / (np.sqrt(rows_U[:, DIM:]) + RULE.eps) * sums_UD
        self._rows[slots_U] = rows_U

    def _look_up(self, keys: list[int]) -> list[int]:
        known = self._slots
        missing = []
        for key in keys:
            if key in known:
                known.move_to_end(key)
            else:
                missing.append(key)
        self._write_oldest(len(missing) - len(self._free))
        for key in missing:
            known[key] = self._free.pop()
        self._rows[[known[key] for key in missing]] = 0.0
        for key, row in self._read(missing):
            self._rows[known[key]] = np.frombuffer(row, np.float32)
        return [known[key] for key in keys]

    def _write_oldest(self, n: int) -> None:
        gone = [self._slots.popitem(last=False) for _ in range(n)]
        rows = [(key, self._rows[slot].tobytes()) for key, slot in sorted(gone)]
        self._disk.execute("BEGIN")
        self._disk.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", rows)
        self._disk.execute("COMMIT")
        self._free += [slot for _, slot in gone]

    def _read(self, keys: list[int]) -> list[tuple[int, bytes]]:
        self._disk.execute("BEGIN")
        self._disk.execute("DELETE FROM wanted")
        self._disk.executemany("INSERT INTO wanted VALUES (?)", [(key,) for key in sorted(keys)])
        found = self._disk.execute("SELECT rows.id, row FROM wanted JOIN rows USING (id)").fetchall()
        self._disk.execute("COMMIT")
        return found


def anonymous() -> int:
    """Bytes of this process's memory that are in no file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def main(warm: int, cold: int) -> None:
    """Prints what a store takes after a stream of ten times `warm` ids: bytes of memory, and its counters."""
    ids, grads = live_ids(TIMES * warm), np.ones((BATCH, DIM), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        compiled = StoreSide(stored(2 * BATCH, 2 * BATCH, folder))
        for begin in range(0, 8 * BATCH, BATCH):
            compiled.step(live_ids(BATCH, begin), grads)
        before, side = anonymous(), StoreSide(stored(warm, cold, folder))
        for drawn in batches(ids, 2 * len(ids) // BATCH, "uniform", BATCH):
            side.step(drawn, grads)
        sys.stdout.write(json.dumps({"taken": anonymous() - before, **side.store.counters("t")}) + "\n")


def measured(warm: int, cold: int) -> dict[str, int]:
    """What `main` prints, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.cold_rows", str(warm), str(cold)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures


def timed(warm: int, kind: str, count: int, folder: str) -> tuple[dict[str, list[float]], dict[str, int]]:
    """CPU seconds of each batch by side, all sides in turn, and the counters of the table with rows on disk.

    As many batches go before that are not counted: the first writes to pages after a table was filled fault.
    """
    ids, grads = live_ids(TIMES * warm), np.random.default_rng(5).standard_normal((BATCH, DIM)).astype(np.float32)
    tiers = StoreSide(stored(warm, TIMES * warm, folder))
    memory = StoreSide(stored((TIMES + 1) * warm, 0, folder))
    sides: dict[str, StoreSide | SqliteSide] = {
        "rows on disk": tiers,
        "all in memory": memory,
        "SQLite behind an LRU": SqliteSide(warm, folder),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        for part in np.array_split(ids, -(-len(ids) // BATCH)):
            side.step(part, grads)
    drawn_before, drawn_now = np.split(np.array(batches(ids, 2 * count, kind, BATCH)), 2)
    for drawn in drawn_before:
        for side in sides.values():
            side.step(drawn, grads)
    begin = tiers.store.counters("t")
    for drawn in drawn_now:
        for name, side in sides.items():
            start = time.process_time()
            side.step(drawn, grads)
            seconds[name].append(time.process_time() - start)
    assert tiers.store.digest() == memory.store.digest()
    end = tiers.store.counters("t")
    return seconds, end | {name: end[name] - begin[name] for name in ("moved_out", "brought_back")}


def run(quick: bool) -> Result:
    """Memory for 20 thousand rows when quick, else for 300 thousand."""
    warm, count = (20_000, 16) if quick else (300_000, 80)
    targets: list[Target] = []
    raw: dict[str, Any] = {"rows in memory": warm, "ids": TIMES * warm, "batch": BATCH, "dim": DIM}
    for kind in DISTRIBUTIONS:
        with tempfile.TemporaryDirectory() as folder:
            seconds, counters = timed(warm, kind, count, folder)
        total = {name: float(np.sum(spent)) for name, spent in seconds.items()}
        ours = total["rows on disk"]
        targets += [
            Target(f"{kind}: share of the rate of a table in memory", total["all in memory"] / ours, SHARES[kind]),
            Target(f"{kind}: times the rate of SQLite behind an LRU", total["SQLite behind an LRU"] / ours, 3),
        ]
        distinct = float(np.mean([len(np.unique(drawn)) for drawn in batches(live_ids(TIMES * warm), 8, kind, BATCH)]))
        raw[kind] = {
            "steps a second, p50 and p99 of a batch in ms": {
                name: [round(len(spent) / total[name], 1), *np.round(1e3 * np.percentile(spent, [50, 99]), 2).tolist()]
                for name, spent in seconds.items()
            },
            "distinct ids of a batch": round(distinct),
            "share of them in memory": round(1 - counters["brought_back"] / count / distinct, 3),
            "bytes on disk": counters["cold_bytes"],
        }
    tiers, alone = measured(warm, TIMES * warm), measured(warm, 0)
    raw["memory"] = {"rows on disk": tiers, "a table of as many rows in memory alone": alone}
    ratio = tiers["taken"] / alone["taken"]
    return Result(
        "cold_rows", [*targets, Target("memory, times that of its rows in memory alone", ratio, 1.1, "lower")], raw
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
