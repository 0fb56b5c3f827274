"""Training while a snapshot is written, and how fast it comes back, against plain files of the same size."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ids import DISTRIBUTIONS, batches, live_ids
from benchmarks.harness import Result, Target, median
from embedding.local import LocalStore
from embedding.saving import Saving
from embedding.store import Floats, Ids, Table

NOW = 1_700_000_000_000
DIM, BATCH = 64, 4096
COMPUTE = 0.02
"""Seconds that the model computes between two sparse steps (AutoInt's step at this batch takes more)."""


def filled(live: int) -> LocalStore:
    store = LocalStore([Table("t", DIM, capacity=live)])
    for part in np.array_split(live_ids(live), max(1, live // 65536)):
        store.lookup("t", part, NOW)
    return store


def steps(store: LocalStore, given: list[Ids], grads: Floats, saving: Saving | None = None) -> float:
    """Steps a second, while `saving` or a hundred; the model's time between them is waited, as for a GPU."""
    start, done = time.perf_counter(), 0
    while done < 100 if saving is None else not saving.done:
        store.update(store.lookup("t", given[done % len(given)], NOW), grads)
        time.sleep(COMPUTE)
        done += 1
    return done / (time.perf_counter() - start)


def plain(folder: Path, size: int) -> tuple[float, float]:
    """Bytes a second of writing and of reading one plain file (from the system's cache, as the snapshot's)."""
    block = np.random.default_rng(0).integers(0, 255, 1 << 24, dtype=np.uint8).tobytes()
    path, start = folder / "plain", time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size // len(block) + 1):
            file.write(block)
        os.fsync(file.fileno())
    written, start = time.perf_counter() - start, time.perf_counter()
    np.fromfile(path, np.uint8)
    return size / written, size / (time.perf_counter() - start)


def run(quick: bool) -> Result:
    """0.15 GB when quick, else 5 GB."""
    live, rounds = (500_000, 3) if quick else (18_000_000, 2)
    store = filled(live)
    grads = np.full((BATCH, DIM), 1e-3, np.float32)
    raw: dict[str, Any] = {"live": live, "dim": DIM, "batch": BATCH, "compute s": COMPUTE}
    kept, begun, write_rates, read_rates, disk = [], [], [], [], []
    size = live * (4 * DIM + 4 + 17)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds):
            given = batches(live_ids(live), 20, DISTRIBUTIONS[number % 2], BATCH)
            alone = steps(store, given, grads)
            start = time.perf_counter()
            saving = store.save_in_background(folder / "s")
            begun.append(time.perf_counter() - start)
            beside = steps(store, given, grads, saving)
            saving.wait()
            write_rates.append(size / (time.perf_counter() - start))
            kept.append(beside / alone)
            disk.append(plain(folder, size))
        other, start = LocalStore(store.tables.values()), time.perf_counter()
        other.load(folder / "s")
        read_rates.append(size / (time.perf_counter() - start))
    raw |= {"kept": kept, "begin s": begun, "write B/s": write_rates, "read B/s": read_rates, "plain B/s": disk}
    written, read = (median(list(rates)) for rates in zip(*disk, strict=True))
    targets = [
        Target("training rate while a snapshot is written, share", median(kept), 0.9),
        Target("pause to begin a snapshot, share of a second", median(begun), 0.2, "lower"),
        Target("snapshot's write rate, share of a plain file's", median(write_rates) / written, 0.5),
        Target("restore rate, share of a plain file's read", median(read_rates) / read, 0.3),
    ]
    return Result("snapshot", targets, raw)
