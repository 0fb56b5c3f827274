"""A checkpoint is whole or refused by name."""

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from embedding.local.store import LocalStore
from embedding.store import Table
from recsys.errors import CheckpointError, InvalidValueError, TornCheckpointError
from recsys.training.checkpoint import manifest, rank_part
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.file_digest import file_digest
from recsys.training.checkpoint.manifest import MANIFEST, part_folder, verify
from tests.forking import run_until_killed


def save(checkpoints: Checkpoints, step: int) -> None:
    with checkpoints.writing(step) as folder:
        (folder / "rows").mkdir()
        (folder / "rows" / "a.bin").write_bytes(b"a" * 1000)
        (folder / "b.bin").write_bytes(f"step {step}".encode())


def write_and_fail(checkpoints: Checkpoints, error: Exception) -> None:
    with checkpoints.writing(2) as folder:
        (folder / "x").write_bytes(b"x")
        raise error


def test_the_newest_is_found_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 10):
        save(checkpoints, step)
    assert [p.name for p in checkpoints.all()] == ["step-000000000002", "step-000000000010"]
    assert checkpoints.newest() == tmp_path / "step-000000000010"


def test_an_old_one_that_cannot_be_deleted_is_a_warning_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []
    delete = shutil.rmtree

    def guarded(path: Path, ignore_errors: bool = False) -> None:
        if path.name == "step-000000000001" and not ignore_errors:
            refused.append(path.name)
            raise PermissionError(13, "Permission denied", str(path))
        delete(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", guarded)
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2, 3):
        save(checkpoints, step)
    assert len(refused) == 2
    assert [p.name for p in checkpoints.all()] == ["step-000000000001", "step-000000000003"]
    assert checkpoints.newest() == tmp_path / "step-000000000003"
    assert caplog.text.count("cannot be deleted: [Errno 13] Permission denied") == 1
    assert "Delete it by hand" in caplog.text


def test_none_yet(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "not there").newest() is None


@pytest.mark.parametrize("name", ["rows/a.bin", "b.bin", MANIFEST])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_one_is_refused_by_name_and_the_previous_loads(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    save(checkpoints, 2)
    file = tmp_path / "step-000000000002" / (name if name == MANIFEST else f"rank-0/{name}")
    content = file.read_bytes()
    flipped = bytes([content[0] ^ 1]) + content[1:]
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "truncated" else flipped)
    assert checkpoints.newest() == tmp_path / "step-000000000001"
    assert name in caplog.text
    with pytest.raises(TornCheckpointError, match=name):
        verify(tmp_path / "step-000000000002")


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_the_files_of_a_snapshot_are_not_read_again_but_their_damage_is_found(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore([Table("t", 4)])
    store.lookup("t", np.arange(9, dtype=np.uint64), 0)
    hashed: list[str] = []

    def counted(file: Path) -> str:
        hashed.append(file.name)
        return file_digest(file)

    for module in (rank_part, manifest):
        monkeypatch.setattr(module, "file_digest", counted)
    with Checkpoints(tmp_path).writing(1) as folder:
        (folder / "rows").mkdir()
        store.save(folder / "rows")
        (folder / "b.bin").write_bytes(b"b")
    assert hashed == ["b.bin", "manifest.json"]
    path = tmp_path / "step-000000000001"
    verify(path)
    files = sorted((path / "rank-0" / "rows").iterdir())
    assert len(files) > 1, "a file for the table, and the manifest"
    for file in files:
        content = file.read_bytes()
        if damage == "missing":
            file.unlink()
        else:
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(TornCheckpointError, match=f"rows/{file.name}"):
            verify(path)
        file.write_bytes(content)
    verify(path)


def test_every_flipped_byte_of_a_manifest_is_noticed_or_harmless(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    path = tmp_path / "step-000000000001"
    content = (path / MANIFEST).read_bytes()
    refused = 0
    for at in range(len(content)):
        (path / MANIFEST).write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            verify(path)
        except TornCheckpointError:
            refused += 1
    assert refused > 0.8 * len(content)  # the rest is white space between values


def test_an_exception_while_writing_leaves_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    with pytest.raises(ValueError, match="a slip"):
        write_and_fail(checkpoints, ValueError("a slip"))
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000000001"]


@pytest.mark.parametrize("error", [OSError("disk full"), SafetensorError("I/O error: File too large")])
def test_a_full_disk_leaves_the_one_before_and_says_so(tmp_path: Path, error: Exception) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    with pytest.raises(CheckpointError, match=r"step-000000000002 could not be written: .* make room"):
        write_and_fail(checkpoints, error)
    assert checkpoints.newest() == tmp_path / "step-000000000001"
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000000001"]


def save_and_be_killed(folder: Path, at: str) -> None:
    def crash(point: str) -> None:
        if point == at:
            os.kill(os.getpid(), signal.SIGKILL)

    save(Checkpoints(folder, crash=crash), 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "survivor"), [("files written", 1), ("part written", 1), ("manifest written", 1), ("renamed", 2)]
)
def test_a_kill_between_any_two_writes(tmp_path: Path, point: str, survivor: int) -> None:
    save(Checkpoints(tmp_path), 1)
    run_until_killed(save_and_be_killed, tmp_path, point)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() == tmp_path / f"step-{survivor:012d}"
    save(checkpoints, 3)
    assert not list(tmp_path.glob("*.partial"))


def test_when_all_are_torn_none_is_dropped_for_an_empty_model(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        save(checkpoints, step)
        (part_folder(tmp_path / f"step-{step:012d}") / "b.bin").write_bytes(b"torn")
    with pytest.raises(TornCheckpointError, match=r"(?s)b\.bin.*b\.bin.*move the folder away"):
        checkpoints.newest()


def test_torn_ones_do_not_push_out_what_is_written_after_resuming_before_them(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 20, 30):
        save(checkpoints, step)
    (tmp_path / "step-000000000030" / MANIFEST).write_bytes(b"")
    assert checkpoints.newest() == tmp_path / "step-000000000020"
    for step in (21, 22):
        save(checkpoints, step)
        assert checkpoints.newest() == tmp_path / f"step-{step:012d}"
    assert [p.name for p in checkpoints.all()] == ["step-000000000021", "step-000000000022"]


def test_parts_of_two_ranks_make_one_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    with ThreadPoolExecutor(2) as ranks:
        list(ranks.map(lambda rank: save_part(Checkpoints(tmp_path), rank), (0, 1)))
    path = checkpoints.newest()
    assert path is not None
    assert [(part_folder(path, rank, world=2) / "x").read_bytes() for rank in (0, 1)] == [b"0", b"1"]
    assert json.loads((path / MANIFEST).read_bytes())["world"] == 2
    with pytest.raises(InvalidValueError, match="was written by 2 trainers: it cannot be loaded by 1"):
        part_folder(path)


def test_a_part_that_does_not_come_leaves_no_checkpoint(tmp_path: Path) -> None:
    save(Checkpoints(tmp_path), 1)
    with pytest.raises(CheckpointError, match="has no part of rank 1 after 0 s"):
        save_part(Checkpoints(tmp_path, patience=0.0), 0)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000000001"]


def test_a_rank_alone_makes_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save_part(checkpoints, 1)
    assert checkpoints.newest() is None
    checkpoints.remove_unfinished()
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_without_the_part_of_a_rank_is_refused(tmp_path: Path) -> None:
    save(Checkpoints(tmp_path), 1)
    manifest = tmp_path / "step-000000000001" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"world": 1', '"world": 2'))
    with pytest.raises(TornCheckpointError, match="lists parts of 1 ranks, not 2"):
        verify(manifest.parent)


def save_part(checkpoints: Checkpoints, rank: int) -> None:
    with checkpoints.writing(2, rank, world=2) as folder:
        (folder / "x").write_bytes(str(rank).encode())
