"""Training speed while a snapshot is written, and restoring it, against plain files on the same disk."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ids import DISTRIBUTIONS, batches, live_ids, quiet_imports
from benchmarks.harness import Result, Target, median
from embedding.lazy_arrays import lazy_zeros
from embedding.local.store import LocalStore
from embedding.snapshot.background import BackgroundSave
from embedding.store import Floats, Ids, Table

NOW = 1_700_000_000_000
DIM, BATCH = 64, 4096
DENSE = 700
"""Width of the matrix product that stands in for the model between two sparse steps: some 20 ms of one core, a small
part of what AutoInt computes on such a batch, so that a slower sparse step is visible."""
PLAIN = 1 << 30  # bytes of the plain file, at most


def filled(live: int) -> LocalStore:
    store = LocalStore([Table("t", DIM, capacity=live)])
    for part in np.array_split(live_ids(live), max(1, live // 65536)):
        store.lookup("t", part, NOW)
    return store


def steps(store: LocalStore, given: list[Ids], grads: Floats, saving: BackgroundSave | None = None) -> float:
    """Steps per second, while `saving` or a hundred."""
    import torch

    dense = torch.ones(BATCH, DENSE)
    start, done = time.perf_counter(), 0
    while done < 100 if saving is None else not saving.done():
        store.update(store.lookup("t", given[done % len(given)], NOW), grads)
        dense @ dense.T[:, :DENSE]
        done += 1
    return done / (time.perf_counter() - start)


def forget(path: Path) -> None:
    """Drop a file from the system's cache, so that it is read from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain_write(folder: Path, size: int) -> float:
    """Bytes a second of writing one plain file to the disk."""
    block = np.random.default_rng(0).integers(0, 255, 1 << 24, dtype=np.uint8).tobytes()
    path, start = folder / "plain", time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size // len(block) + 1):
            file.write(block)
        os.fsync(file.fileno())
    return path.stat().st_size / (time.perf_counter() - start)


def cold(folder: Path) -> None:
    """Drop the files from the system's cache, and let it have memory for them at hand.

    A virtual machine may have to ask its host for memory, which takes seconds a GB and is no part of either side.
    """
    for path in folder.iterdir():
        forget(path)
    size = sum(path.stat().st_size for path in folder.iterdir())
    lazy_zeros(5 * size // 2, np.uint8)[:: 1 << 12] = 1  # the system keeps the files, too


def plain_read(folder: Path) -> float:
    """Seconds of reading the files of a snapshot from the disk into memory that this process did not write before."""
    cold(folder)
    start = time.perf_counter()
    arrays = [np.fromfile(path, np.uint8) for path in folder.iterdir()]
    assert arrays
    return time.perf_counter() - start


def restored(store: LocalStore, folder: Path) -> float:
    """Seconds until an empty store holds the snapshot on disk."""
    other = LocalStore(store.tables.values())
    cold(folder)
    start = time.perf_counter()
    other.load(folder)
    return time.perf_counter() - start


def run(quick: bool) -> Result:
    """0.15 GB when quick, else 2.5 GB."""
    quiet_imports()
    live, rounds = (500_000, 3) if quick else (9_000_000, 5)
    store = filled(live)
    grads = np.full((BATCH, DIM), 1e-3, np.float32)
    raw: dict[str, Any] = {"live": live, "dim": DIM, "batch": BATCH}
    kept, begun, write_rates, plain_writes = [], [], [], []
    read_rates: list[float] = []
    plain_reads: list[float] = []
    sides = (read_rates, plain_reads)
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
            saving.result()
            write_rates.append(size / (time.perf_counter() - start))
            kept.append(beside / alone)
            plain_writes.append(plain_write(folder, min(size, PLAIN)))
            for side in sides if number % 2 else sides[::-1]:
                took = restored(store, folder / "s") if side is read_rates else plain_read(folder / "s")
                side.append(size / took)
    raw |= {"GB": size / 1e9, "kept": kept, "begin s": begun}
    raw |= {"write B/s": write_rates, "restore B/s": read_rates}
    raw |= {"plain write B/s": plain_writes, "plain read B/s": plain_reads}
    targets = [
        Target("training rate while a snapshot is written, share", median(kept), 0.9),
        Target("restore rate from disk, share of a plain file's", median(read_rates) / median(plain_reads), 1.0),
    ]
    return Result("snapshot", targets, raw)
