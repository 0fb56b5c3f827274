"""Snapshots that were hurt, or never finished: refused by name, and the previous one loads."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding.local.store import LocalStore
from embedding.snapshot.increments import Increments
from embedding.snapshot.snapshot_manifest import MANIFEST, chain
from embedding.store import Admission, Optimizer, Table
from recsys.errors import TornCheckpointError

pytestmark = pytest.mark.slow

TABLES = [
    Table("plain", 4, ttl=10**9),
    Table("counted", 3, capacity=64, optimizer=Optimizer("adam"), admission=Admission("count", 2)),
]


class Crash(Exception):  # noqa: N818 - it stands for the end of the process
    pass


def trained(steps: int) -> LocalStore:
    store = LocalStore(TABLES)
    store.subscribe("c")
    for step in range(steps):
        train_on(store, step)
    store.delta("c")
    return store


def train_on(store: LocalStore, step: int) -> None:
    rng = np.random.default_rng(step)
    for table in TABLES:
        found = store.lookup(table.name, rng.integers(0, 50, 30).astype(np.uint64), step * 60_000)
        store.update(found, rng.standard_normal((30, table.dim)).astype(np.float32))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    trained(4).save(folder)
    return folder


def refuses(folder: Path) -> str:
    """The error of loading a hurt snapshot, which leaves a store as it was: one with rows, and a new one."""
    for store in trained(1), LocalStore(TABLES):
        before = store.digest()
        with pytest.raises(TornCheckpointError, match=f"{folder}.*: load an earlier snapshot") as refusal:
            store.load(folder)
        assert store.digest() == before
        train_on(store, 5)
    assert store.digest() == trained_anew(5)
    return str(refusal.value)


@cache
def trained_anew(step: int) -> str:
    """The digest of a new store after one step."""
    store = LocalStore(TABLES)
    train_on(store, step)
    return store.digest()


def test_a_store_that_has_counted_ids_but_gave_no_row_stays_as_it_was(tmp_path: Path) -> None:
    table = Table("counted", 4, capacity=8, admission=Admission("count", 2), fallback="multiplexed")
    saved, store = LocalStore([table]), LocalStore([table])
    saved.lookup("counted", np.array([1, 1], np.uint64), 0)
    saved.save(tmp_path)
    hurt = tmp_path / "table-000.safetensors"
    hurt.write_bytes(hurt.read_bytes()[:-1] + b"?")  # the end of the rows
    found = store.lookup("counted", np.array([5], np.uint64), 0)
    store.update(found, np.ones((1, 4), np.float32))
    before = store.digest()
    with pytest.raises(TornCheckpointError, match="is damaged"):
        store.load(tmp_path)
    assert store.digest() == before


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_found_and_its_file_named(
    data: st.DataObject, saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "snapshot"
    shutil.copytree(saved, folder)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= 1 << data.draw(st.integers(0, 7))
    assert bytes(content) != path.read_bytes(), "the fault happened"
    path.write_bytes(content)
    assert path.name in refuses(folder)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_truncated_or_missing_file_is_found_and_named(
    data: st.DataObject, saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut") / "snapshot"
    shutil.copytree(saved, folder)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    length = data.draw(st.integers(-1, path.stat().st_size - 1))
    if length < 0:
        path.unlink()
    else:
        os.truncate(path, length)
    assert path.name in refuses(folder)


class Countdown:
    """Lets `left` file operations through and crashes at the next."""

    def __init__(self, left: int) -> None:
        self.left, self.crashed = left, False

    def wrap(self, operation: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                self.crashed = True
                raise Crash
            self.left -= 1
            return operation(*args, **kwargs)

        return wrapped


def save_until(left: int, store: LocalStore, folder: Path, increments: Increments | None = None) -> bool:
    """Save, crashing after `left` writes, syncs or renames; returns whether it crashed."""
    countdown = Countdown(left)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pwrite", "fsync"):
            patch.setattr(os, name, countdown.wrap(getattr(os, name)))
        patch.setattr(Path, "rename", countdown.wrap(Path.rename))
        try:
            store.save_in_background(folder, increments=increments).result()
        except Crash:
            assert countdown.crashed
            return True
    return False


def loads(folder: Path) -> str:
    """The digest of what was loaded, or "refused"."""
    store = LocalStore(TABLES)
    try:
        store.load(folder)
    except TornCheckpointError:
        return "refused"
    return store.digest()


def test_a_crash_between_any_two_writes_leaves_the_previous_snapshot(tmp_path: Path) -> None:
    old, new = trained(2), trained(5)
    old.save(tmp_path / "old")
    points = 0
    while save_until(points, new, tmp_path / f"new-{points}"):
        folder = tmp_path / f"new-{points}"
        store = LocalStore(TABLES)
        if (folder / MANIFEST).exists():
            store.load(folder)
            assert store.digest() == new.digest(), "renamed, but not synced any more"
        else:
            with pytest.raises(TornCheckpointError, match=str(folder)):
                store.load(folder)
            store.load(tmp_path / "old")
            assert store.digest() == old.digest()
        points += 1
    assert points > 20, "the save had many points to crash at"
    store = LocalStore(TABLES)
    store.load(tmp_path / f"new-{points}")
    assert store.digest() == new.digest()


def test_a_crash_between_any_two_writes_of_an_increment_leaves_what_it_builds_on(tmp_path: Path) -> None:
    points, crashed = 0, True
    while crashed:
        store, full, folder = trained(2), tmp_path / f"full-{points}", tmp_path / f"increment-{points}"
        assert not save_until(-1, store, full, Increments(None, 9))
        before = store.digest()
        train_on(store, 2)
        crashed = save_until(points, store, folder, Increments(full, 9))
        assert loads(full) == before
        assert loads(folder) == (store.digest() if (folder / MANIFEST).exists() else "refused")
        points += 1
    assert chain(folder) == [full]
    assert points > 20, "the save had many points to crash at"


def test_saving_over_a_snapshot_never_leaves_a_mixture(tmp_path: Path) -> None:
    new = trained(5)
    points, outcomes = 0, []
    crashed = True
    while crashed:
        folder = tmp_path / f"{points}"
        trained(2).save(folder)
        crashed = save_until(points, new, folder)
        outcomes.append(loads(folder))
        assert outcomes[-1] in ("refused", new.digest())
        points += 1
    assert outcomes[-1] == new.digest()
    assert outcomes.count("refused") > 20, "the save had many points to crash at"


def test_a_failed_save_can_be_tried_again(tmp_path: Path) -> None:
    store, other = trained(3), LocalStore(TABLES)
    assert save_until(7, store, tmp_path / "s")
    store.save(tmp_path / "s")
    other.load(tmp_path / "s")
    assert other.digest() == store.digest()
