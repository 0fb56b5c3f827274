"""Snapshots of what changed since the one before: with those that they build on they are the store, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.local.store import LocalStore
from embedding.snapshot.format import ids_of, verify
from embedding.snapshot.increments import Increments
from embedding.snapshot.snapshot_manifest import MANIFEST, chain
from embedding.store import Admission, Optimizer, Table
from recsys.errors import FileError, TornCheckpointError

pytestmark = pytest.mark.slow

MINUTE = 60_000
TABLES = [
    Table("small", 4, capacity=40, ttl=30 * MINUTE),
    Table("adam", 3, capacity=1000, optimizer=Optimizer("adam"), admission=Admission("count", 2)),
    Table("cold", 5, capacity=80, cold_capacity=64),
    Table("shared", 2, capacity=20, admission=Admission("count", 3), fallback="multiplexed"),
]


class Saved:
    """A store and its snapshots, each of which may build on the one before."""

    def __init__(self, folder: Path, most: int = 100, tables: list[Table] = TABLES) -> None:
        self.folder, self.most, self.tables = folder, most, tables
        self.store = self._empty()
        self.snapshots: list[Path] = []
        self.digests: list[str] = []
        self.now = 0

    def _empty(self) -> LocalStore:
        return LocalStore(self.tables, cold_folder=self.folder)

    def train(self, seed: int, of: int, ids: int = 12) -> None:
        """Look up `ids` of the first `of` ids in each table, and update most of them."""
        rng = np.random.default_rng(seed)
        self.now += MINUTE
        for table in self.tables:
            found = self.store.lookup(table.name, rng.integers(0, of, ids).astype(np.uint64), self.now)
            if rng.random() < 0.8:
                self.store.update(found, rng.standard_normal((ids, table.dim)).astype(np.float32))

    def save(self) -> bool:
        """Whether it is an increment."""
        at = self.folder / f"s{len(self.snapshots)}"
        base = self.snapshots[-1] if self.snapshots else None
        self.store.save_in_background(at, increments=Increments(base, self.most)).result()
        self.snapshots.append(at)
        self.digests.append(self.store.digest())
        return bool(chain(at))

    def loaded(self, folder: Path) -> LocalStore:
        store = self._empty()
        store.load(folder)
        return store

    def check(self) -> None:
        for folder, digest in zip(self.snapshots, self.digests, strict=True):
            verify(folder)
            assert self.loaded(folder).digest() == digest


STEPS = st.one_of(
    st.tuples(st.just("train"), st.integers(0, 1000), st.sampled_from([5, 60, 200])),
    st.tuples(st.just("expire"), st.integers(0, 60)),
    st.tuples(st.just("forget"), st.integers(0, 60)),
    st.tuples(st.just("save")),
)


@given(steps=st.lists(STEPS, max_size=15))
@settings(max_examples=10, deadline=None)
def test_every_snapshot_of_a_chain_is_the_store_at_that_time(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    saved = Saved(tmp_path_factory.mktemp("chain"))
    saved.train(0, 200, 60)
    saved.save()
    for name, *words in steps:
        if name == "train":
            saved.train(*words)
        elif name == "expire":
            saved.now += words[0] * MINUTE
            saved.store.expire(saved.now)
        elif name == "forget":
            for table in TABLES:
                saved.store.forget(table.name, np.arange(words[0], words[0] + 5, dtype=np.uint64))
        else:
            saved.save()
    saved.save()
    saved.check()


def test_it_has_the_values_of_what_changed_alone(tmp_path: Path) -> None:
    saved = Saved(tmp_path, tables=[Table("t", 32, capacity=1000)])
    saved.train(0, 1000, 800)
    saved.save()
    saved.train(1, 10, 10)
    assert saved.save()
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in saved.snapshots]
    assert sizes[1] < sizes[0] / 5
    assert chain(saved.snapshots[1]) == [saved.snapshots[0]]
    assert ids_of(saved.snapshots[1])["t"].size == saved.store.counters("t")["live"]
    saved.check()


def test_there_is_a_full_one_after_so_many_in_a_row(tmp_path: Path) -> None:
    saved = Saved(tmp_path, most=2, tables=[Table("t", 32, capacity=1000)])
    saved.train(0, 1000, 800)
    increments = []
    for seed in range(7):
        saved.train(seed, 10, 5)
        increments.append(saved.save())
    assert increments == [False, True, True, False, True, True, False]
    saved.check()


def test_there_is_a_full_one_where_that_is_smaller_than_all_increments(tmp_path: Path) -> None:
    saved = Saved(tmp_path, tables=[Table("t", 32, capacity=1000)])
    saved.train(0, 200, 800)
    saved.save()
    saved.train(1, 80, 400)
    assert saved.save(), "nearly half of it has changed"
    saved.train(2, 200, 800)
    assert not saved.save()


def test_the_first_one_of_a_store_that_was_loaded_is_full(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.train(0, 200, 60)
    saved.save()
    saved.store = saved.loaded(saved.snapshots[-1])
    saved.train(1, 20)
    assert not saved.save()
    saved.train(2, 20)
    assert saved.save()
    saved.check()


def test_after_one_that_failed_comes_a_full_one(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.train(0, 200, 60)
    saved.save()
    (tmp_path / "file").touch()
    saved.train(1, 20)
    with pytest.raises(OSError, match="file"):
        saved.store.save_in_background(tmp_path / "file", increments=Increments(saved.snapshots[-1], 9)).result()
    assert not saved.save()
    saved.train(2, 20)
    assert saved.save()
    saved.check()


def test_a_snapshot_that_is_not_the_last_is_not_built_on(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.train(0, 200, 60)
    saved.save()
    saved.train(1, 20)
    saved.save()
    saved.snapshots.append(saved.snapshots[0])
    saved.digests.append(saved.digests[0])
    assert not saved.save()


def test_what_it_builds_on_must_be_there_and_whole(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.train(0, 200, 60)
    saved.save()
    saved.train(1, 20)
    assert saved.save()
    full, increment = saved.snapshots
    damaged = full / "table-000.safetensors"
    before = damaged.read_bytes()
    damaged.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    for broken in (verify, saved.loaded):
        with pytest.raises(TornCheckpointError, match=str(damaged)):
            broken(increment)
    damaged.write_bytes(before)
    other = Saved(tmp_path / "other")
    other.train(5, 30)
    other.save()
    shutil.rmtree(full)
    with pytest.raises(TornCheckpointError, match=str(full)):
        verify(increment)
    other.snapshots[0].rename(full)
    with pytest.raises(TornCheckpointError, match=f"{full} is not the snapshot that {increment} builds on"):
        verify(increment)


def test_a_store_with_increments_may_be_moved(tmp_path: Path) -> None:
    saved = Saved(tmp_path / "here")
    saved.train(0, 200, 60)
    saved.save()
    saved.train(1, 20)
    assert saved.save()
    (tmp_path / "here").rename(tmp_path / "there")
    saved.folder = tmp_path
    moved = tmp_path / "there" / saved.snapshots[1].name
    assert saved.loaded(moved).digest() == saved.digests[1]
    assert str(tmp_path) not in json.loads((moved / MANIFEST).read_bytes())["body"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no room in files")
def test_a_full_disk_is_an_error_and_does_not_end_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is mapped without room kills the process when it is written."""
    saved = Saved(tmp_path)
    saved.train(0, 200, 60)
    saved.save()
    saved.train(1, 20)
    assert saved.save()
    store, reserved = Saved(tmp_path / "other").store, []
    untouched = store.digest()

    def full(file: int, offset: int, size: int) -> None:
        reserved.append(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FileError, match=f"checkpoint that is loaded: {saved.snapshots[1]}: .*make room on the disk"):
        store.load(saved.snapshots[1])
    assert reserved
    assert store.digest() == untouched
