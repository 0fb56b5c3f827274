"""SIGKILL between any two writes of a snapshot: what is left is refused by name, and the previous one loads."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding.local.store import LocalStore
from embedding.snapshot.snapshot_manifest import MANIFEST
from embedding.store import Admission, Optimizer, Table
from embedding.torchrec.sharded_store.store import TorchRecStore
from recsys.errors import TornCheckpointError
from tests.forking import SECONDS, context

pytestmark = pytest.mark.slow

TABLES = (
    Table("plain", 4, ttl=10**9, capacity=300),
    Table("counted", 3, capacity=64, optimizer=Optimizer("adagrad"), admission=Admission("count", 2)),
)
NEVER = 1 << 30


def train(store: Any, steps: range) -> None:
    for step in steps:
        rng = np.random.default_rng(step)
        for table in TABLES:
            found = store.lookup(table.name, rng.integers(0, 50, 30).astype(np.uint64), step * 60_000)
            store.update(found, rng.standard_normal((30, table.dim)).astype(np.float32))


def save(store: Any, folder: Path) -> None:
    store.save(folder)


def save_while_training(store: LocalStore, folder: Path) -> None:
    saving, step = store.save_in_background(folder), 100
    while not saving.done():
        train(store, range(step, step + 1))
        step += 1
    saving.result()


WAYS: dict[str, tuple[Callable[..., Any], Callable[[Any, Path], None], int]] = {
    "local": (LocalStore, save, 1),
    "local, in the background": (LocalStore, save_while_training, 2),
    "torchrec": (TorchRecStore, save, 3),
}
"""A store, how it saves, and how many writes apart the kills are."""


def victim(way: str, folder: Path, left: int) -> None:
    """Save, and be killed after `left` writes, syncs or renames."""
    make, write, _ = WAYS[way]
    store = make(TABLES)
    train(store, range(5))
    (folder.parent / "digest").write_text(store.digest())
    writes = iter(range(left))
    for owner, name in ((os, "pwrite"), (os, "fsync"), (Path, "rename")):
        setattr(owner, name, deadly(getattr(owner, name), writes))
    write(store, folder)


def deadly(operation: Callable[..., Any], left: Iterator[int]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_between_any_two_writes_leaves_the_previous_snapshot(way: str, tmp_path: Path) -> None:
    old = LocalStore(TABLES)
    train(old, range(2))
    old.save(tmp_path / "old")
    killed = 0
    for left in range(0, NEVER, WAYS[way][2]):
        folder = tmp_path / str(left)
        process = context.Process(target=victim, args=(way, folder, left))
        process.start()
        process.join(SECONDS)
        store, new = LocalStore(TABLES), (tmp_path / "digest").read_text()
        if process.exitcode == 0:
            store.load(folder)
            assert store.digest() == new
            break
        assert process.exitcode == -signal.SIGKILL, "the kill happened"
        killed += 1
        if (folder / MANIFEST).exists():
            store.load(folder)
            assert store.digest() == new, "renamed, but not synced any more"
        else:
            with pytest.raises(TornCheckpointError, match=str(folder)):
                store.load(folder)
            store.load(tmp_path / "old")
            assert store.digest() == old.digest()
    assert killed * WAYS[way][2] > 20
