"""Checkpoints that build on one another: what is kept, copied and brought back with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding.local.store import LocalStore
from embedding.snapshot import format as snapshot
from embedding.snapshot.format import ids_of
from embedding.snapshot.increments import Increments
from embedding.snapshot.snapshot_manifest import chain
from embedding.store import Table
from recsys.errors import TornCheckpointError
from recsys.training.checkpoint.checkpoint_copies import CheckpointCopies
from recsys.training.checkpoint.checkpoint_places import OlderCheckpoints
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import MANIFEST, bases
from recsys.training.checkpoint.remote_folder import RemoteFolder
from tests.recsys.training.checkpoint.test_checkpoint_copies import Failing, contents, copied, restored, url

__all__ = ["url"]

TABLE = Table("t", 32)


class Chain:
    """Checkpoints of one store: the first is full, and so is every one of those in `full`."""

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.checkpoints = Checkpoints(folder, keep)
        self.store = LocalStore([TABLE])
        self._learn(500)

    def _learn(self, rows: int) -> None:
        found = self.store.lookup("t", np.arange(rows, dtype=np.uint64), 0)
        self.store.update(found, np.ones((rows, TABLE.dim), np.float32))

    def write(self, step: int, *, full: bool = False) -> Path:
        self._learn(10)
        before = self.checkpoints.of_step(step - 1) / "rank-0" / "rows"
        base = before if before.exists() and not full else None
        with self.checkpoints.writing(step) as folder:
            (folder / "run").write_text("3f")
            self.store.save_in_background(folder / "rows", increments=Increments(base, 9)).result()
        return self.checkpoints.of_step(step)


def names(folder: Path) -> list[str]:
    return [path.name[-1] for path in Checkpoints(folder).all()]


def digest(path: Path) -> str:
    store = LocalStore([TABLE])
    store.load(path / "rank-0" / "rows")
    return store.digest()


def test_what_the_kept_ones_build_on_stays(tmp_path: Path) -> None:
    chain = Chain(tmp_path, keep=2)
    kept = []
    for step in range(1, 8):
        chain.write(step, full=step == 5)
        kept.append("".join(names(tmp_path)))
    assert kept == ["1", "12", "123", "1234", "12345", "56", "567"]
    assert [path.name[-1] for path in bases(tmp_path / "step-000000000007")] == ["5", "6"]


def test_a_lost_folder_comes_back_with_what_the_newest_builds_on(url: str, tmp_path: Path) -> None:
    chain = Chain(tmp_path / "a")
    for step in (1, 2, 3):
        newest = chain.write(step)
    copied(RemoteFolder(url), newest)
    there = restored(url, tmp_path / "b")
    assert there is not None
    assert there.name == newest.name
    assert digest(there) == chain.store.digest()
    assert {"1", "2", "3"} == {*names(tmp_path / "b")}
    for name in ("step-000000000001", newest.name):
        assert contents(tmp_path / "b" / name) == contents(tmp_path / "a" / name)


def test_what_is_there_is_not_copied_again_and_goes_with_those_that_build_on_it(url: str, tmp_path: Path) -> None:
    chain, remote = Chain(tmp_path), Failing(url)
    written = [chain.write(1), chain.write(2)]
    copied(remote, *written, keep=1)
    remote.writes = len(remote.written) + len(contents(written[1]))
    copied(remote, third := chain.write(3), keep=1)
    assert remote.has(f"{third.name}/{MANIFEST}"), "only its own files were written"
    assert remote.folders() == [path.name for path in (*written, third)]
    remote.writes = float("inf")
    copied(remote, fourth := chain.write(4, full=True), keep=1)
    assert remote.folders() == [fourth.name]


def test_wherever_a_copy_is_cut_off_what_is_complete_is_used(url: str, tmp_path: Path) -> None:
    chain = Chain(tmp_path / "a")
    paths = [chain.write(step) for step in (1, 2, 3)]
    writes = sum(len(contents(path)) for path in paths)
    for cut in range(writes):
        remote, here = f"{url}{cut}", tmp_path / f"b{cut}"
        copies = CheckpointCopies(Failing(remote, cut), 3, retry=1e9)
        copies.offer(paths[-1])
        copies.settle()
        copies.close()
        found = restored(remote, here)
        assert found is None or found.name < paths[-1].name


def test_a_copy_whose_chain_is_not_whole_is_refused_for_the_one_before(url: str, tmp_path: Path) -> None:
    chain, remote = Chain(tmp_path / "a"), RemoteFolder(url)
    copied(remote, chain.write(1), chain.write(2), chain.write(3))
    remote.remove_file(f"step-000000000002/{MANIFEST}")
    found = restored(url, tmp_path / "b")
    assert found is not None
    assert names(tmp_path / "b") == ["1"]
    remote.remove_file(f"step-000000000001/{MANIFEST}")
    with pytest.raises(TornCheckpointError, match="builds on step-000000000001, which is not there"):
        restored(url, tmp_path / "c")


def test_erasing_leaves_what_the_newest_builds_on(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    for step in (1, 2, 3, 4):
        chain.write(step, full=step == 3)
    older = OlderCheckpoints(chain.checkpoints, lambda path: int(path.name[-1] < "3"), now=True)
    assert older.count() == 2
    older.remove()
    assert names(tmp_path) == ["3", "4"]
    assert digest(tmp_path / "step-000000000004") == chain.store.digest()


def test_erasing_removes_a_whole_chain_of_older_ones(tmp_path: Path) -> None:
    """What is known of one is known from what it builds on, too."""
    written = Chain(tmp_path, keep=4)
    for step in (1, 2, 3, 4):
        newest = written.write(step, full=step == 4)

    def known(path: Path) -> int:
        rows = path / "rank-0" / "rows"
        return 0 if path == newest else sum(len(ids_of(each)["t"]) for each in (rows, *chain(rows)))

    older = OlderCheckpoints(written.checkpoints, known, now=True)
    assert older.count() > 0
    older.remove()
    assert names(tmp_path) == ["4"]


def test_what_is_refused_is_named_and_so_is_the_damaged_one_that_it_builds_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = Chain(tmp_path)
    good, damaged, newest = (written.write(step, full=step < 3) for step in (1, 2, 3))
    table = damaged / "rank-0" / "rows" / "table-000.safetensors"
    table.write_bytes(table.read_bytes()[:-1])
    assert written.checkpoints.newest() == good
    first, second = caplog.messages
    assert first.startswith(
        f"checkpoint {newest.name} refused, trying the previous one: {newest} builds on {damaged.name}"
    )
    assert second.startswith(f"checkpoint {damaged.name} refused, trying the previous one: {table} ")
    assert "load an earlier" not in caplog.text
    with pytest.raises(TornCheckpointError, match=rf"{table} is damaged.*: load an earlier snapshot"):
        digest(newest)


def test_each_of_a_chain_is_verified_once_when_it_is_brought_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Chain(tmp_path / "a", keep=5)
    for step in (1, 2, 3, 4, 5):
        newest = written.write(step)
    copied(RemoteFolder(url), newest)
    read: list[str] = []

    def counted(folder: Path, manifest: dict[str, Any]) -> None:
        read.append(folder.parts[-3].removesuffix(".partial"))
        verify_files(folder, manifest)

    verify_files = snapshot._verify_files
    monkeypatch.setattr(snapshot, "_verify_files", counted)
    CheckpointCopies(RemoteFolder(url), 3).restore(Checkpoints(tmp_path / "b"))
    assert len(bases(newest)) == 4
    assert read == [path.name for path in (*bases(newest), newest)]
