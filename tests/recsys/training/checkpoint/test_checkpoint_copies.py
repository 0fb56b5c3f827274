"""Copies of checkpoints at a URL: complete or ignored, as many as are kept, and what is lost here comes back."""

from __future__ import annotations

import shutil
import threading
import uuid
from pathlib import Path

import pytest

from recsys.errors import CheckpointError, TornCheckpointError
from recsys.training.checkpoint.checkpoint_copies import CheckpointCopies
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import MANIFEST
from recsys.training.checkpoint.remote_folder import RemoteFolder
from tests.object_store import ObjectStore
from tests.serving.waiting import until


class Failing(RemoteFolder):
    """Fails from its n-th write on, if `writes` says so, and counts what was written."""

    def __init__(self, url: str, writes: float = float("inf")) -> None:
        super().__init__(url)
        self.writes, self.written = writes, list[str]()

    def put(self, local: Path, name: str) -> None:
        if len(self.written) >= self.writes:
            raise CheckpointError("the store is away")
        super().put(local, name)
        self.written.append(name)


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}/copies"


def write(checkpoints: Checkpoints, step: int, run: str = "3f") -> Path:
    with checkpoints.writing(step) as folder:
        (folder / "run").write_text(run)
        (folder / "rows").mkdir()
        (folder / "rows" / "ids").write_bytes(b"%d" % step * 1000)
    return checkpoints.of_step(step)


def copied(remote: RemoteFolder, *paths: Path, keep: int = 3) -> CheckpointCopies:
    """Copies of these, one after the other."""
    copies = CheckpointCopies(remote, keep)
    for path in paths:
        copies.offer(path)
        copies.settle()
    copies.close()
    return copies


def restored(url: str, folder: Path) -> Path | None:
    """The newest checkpoint of a folder that was brought up to date."""
    checkpoints = Checkpoints(folder)
    CheckpointCopies(RemoteFolder(url), 3).restore(checkpoints)
    return checkpoints.newest()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_lost_folder_comes_back_to_the_byte(url: str, tmp_path: Path) -> None:
    remote, here = Failing(url), Checkpoints(tmp_path / "a")
    paths = [write(here, step) for step in (1, 2)]
    copies = copied(remote, *paths)
    assert copies.status.keys() == {"step", "written", "failed"}
    assert (copies.status["step"], copies.status["failed"]) == (2, 0)
    names = {name.partition("/")[2] for name in remote.written}
    assert names == contents(paths[0]).keys()
    assert all(remote.written[len(names) * n - 1].endswith(MANIFEST) for n in (1, 2))
    back = restored(url, tmp_path / "b")
    assert back is not None
    assert back.name == "step-000000000002"
    assert contents(back) == contents(paths[1])


def test_wherever_a_copy_is_cut_off_the_one_before_it_is_used(url: str, tmp_path: Path) -> None:
    here = Checkpoints(tmp_path / "a", keep=9)
    copied(RemoteFolder(url), write(here, 1))
    second = write(here, 2)
    for writes in range(len(contents(second))):
        copies = copied(Failing(url, writes), second)
        assert copies.status == {"failed": 1, "trouble": "the store is away"}
        back = restored(url, tmp_path / f"b{writes}")
        assert back is not None
        assert back.name == "step-000000000001"
    copied(RemoteFolder(url), second)
    assert restored(url, tmp_path / "c") == tmp_path / "c" / "step-000000000002"


def test_copying_a_step_again_replaces_what_was_there(url: str, tmp_path: Path) -> None:
    here = Checkpoints(tmp_path / "a")
    copied(RemoteFolder(url), write(here, 1))
    (here.of_step(1) / "rank-0" / "rows" / "ids").write_bytes(b"of no manifest")
    copied(Failing(url, writes=1), here.of_step(1))
    assert restored(url, tmp_path / "b") is None, "its manifest went first"


def test_a_damaged_copy_is_refused_for_the_one_before(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, remote = Checkpoints(tmp_path / "a"), RemoteFolder(url)
    copied(remote, write(here, 1), write(here, 2))
    (tmp_path / "other").write_bytes(b"2" * 999 + b"3")
    remote.put(tmp_path / "other", "step-000000000002/rank-0/rows/ids")
    assert restored(url, tmp_path / "b") == tmp_path / "b" / "step-000000000001"
    assert "copy step-000000000002 refused, trying the previous one" in caplog.text
    assert "SHA-256" in caplog.text
    remote.remove_file("step-000000000001/rank-0/run")
    with pytest.raises(TornCheckpointError, match=r"no copy at .* is complete .*run is missing.*name another"):
        restored(url, tmp_path / "c")
    assert not list((tmp_path / "c").glob("*")), "nothing is left of what was refused"


def test_only_the_newest_are_kept_and_nothing_that_was_cut_off(url: str, tmp_path: Path) -> None:
    here, remote = Checkpoints(tmp_path / "a", keep=9), RemoteFolder(url)
    paths = [write(here, step) for step in range(1, 5)]
    copied(Failing(url, writes=1), paths[0])
    assert remote.folders() == ["step-000000000001"]
    copied(remote, *paths[1:], keep=2)
    assert remote.folders() == ["step-000000000003", "step-000000000004"]
    # training that resumed from before them goes another way
    copied(remote, write(here, 2), keep=2)
    assert remote.folders() == ["step-000000000002"]


def test_the_newer_one_of_both_places_is_taken(url: str, tmp_path: Path) -> None:
    here, remote = Checkpoints(tmp_path / "a"), RemoteFolder(url)
    copied(remote, write(here, 5))
    assert restored(url, tmp_path / "a") == here.of_step(5)
    newer = write(here, 6)
    copies = CheckpointCopies(remote, 3)
    copies.restore(here)
    copies.settle()
    copies.close()
    assert here.newest() == newer
    assert remote.folders()[-1] == newer.name, "one that is here alone is copied at the start"
    shutil.rmtree(newer)
    assert restored(url, tmp_path / "a") == newer


def test_a_damaged_checkpoint_here_is_replaced_by_its_copy(url: str, tmp_path: Path) -> None:
    here = Checkpoints(tmp_path / "a")
    path = write(here, 5)
    copied(RemoteFolder(url), path)
    (path / "rank-0" / "rows" / "ids").unlink()
    assert restored(url, tmp_path / "a") == path
    assert (path / "rank-0" / "rows" / "ids").exists()


def test_copies_of_another_run_are_never_mixed_with_those_here(url: str, tmp_path: Path) -> None:
    copied(RemoteFolder(url), write(Checkpoints(tmp_path / "a"), 5, run="aa"))
    write(Checkpoints(tmp_path / "b"), 7, run="bb")
    with pytest.raises(CheckpointError, match=r"has checkpoints of run aa, and .* is of run bb: name another"):
        restored(url, tmp_path / "b")


def test_two_trainers_with_one_url_do_not_replace_each_others_copies(url: str, tmp_path: Path) -> None:
    """Both begin where there is none yet, so neither is refused at its start."""
    first, second = Checkpoints(tmp_path / "a"), Checkpoints(tmp_path / "b")
    copied(RemoteFolder(url), write(first, 5, run="aa"))
    copies = copied(RemoteFolder(url), write(second, 3, run="bb"))
    assert "has checkpoints of run aa, and" in str(copies.status["trouble"])
    assert restored(url, tmp_path / "c") == tmp_path / "c" / "step-000000000005"


def test_newer_copies_stay_while_one_of_them_is_brought(url: str, tmp_path: Path) -> None:
    """An older folder came from a backup, and its step is not among the copies any more."""
    old, here = Checkpoints(tmp_path / "old"), Checkpoints(tmp_path / "a")
    write(old, 1)
    copied(RemoteFolder(url), write(here, 2), write(here, 3))
    offered: list[Path] = []

    class Watched(CheckpointCopies):
        def offer(self, path: Path) -> None:
            offered.append(path)
            super().offer(path)
            self.settle()

    copies = Watched(RemoteFolder(url), 3)
    copies.restore(old)
    copies.close()
    assert old.newest() == old.of_step(3)
    assert not offered
    assert RemoteFolder(url).folders() == ["step-000000000002", "step-000000000003"]


def test_a_copy_that_is_half_deleted_does_not_keep_a_trainer_from_its_own_checkpoint(url: str, tmp_path: Path) -> None:
    here, remote = Checkpoints(tmp_path / "a"), RemoteFolder(url)
    copied(remote, write(here, 1), write(here, 2))
    remote.remove_file("step-000000000002/rank-0/run")
    assert restored(url, tmp_path / "a") == here.of_step(2)
    remote.remove_file("step-000000000001/rank-0/run")
    assert restored(url, tmp_path / "a") == here.of_step(2)


def test_what_is_being_copied_is_not_removed_here(url: str, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(RemoteFolder):
        def put(self, local: Path, name: str) -> None:
            begun.set()
            assert go_on.wait(120)
            super().put(local, name)

    copies = CheckpointCopies(Slow(url), 3)
    here = Checkpoints(tmp_path / "a", keep=2, in_use=copies.holds)
    first = write(here, 1)
    copies.offer(first)
    assert begun.wait(120)
    for step in range(2, 6):
        copies.offer(write(here, step))
    assert [path.name[-1] for path in here.all()] == ["1", "4", "5"]
    go_on.set()
    copies.settle()
    copies.close()
    assert copies.status["step"] == 5
    write(here, 6)
    assert not first.exists()


def test_in_an_object_store(store: ObjectStore, tmp_path: Path) -> None:
    here = Checkpoints(tmp_path / "a")
    paths = [write(here, step) for step in (1, 2, 3)]
    copied(RemoteFolder(store.url("shop/models/a")), *paths, keep=2)
    files = {name for name, content in store.objects["shop"].items() if content}
    assert files == {f"models/a/{path.name}/{name}" for path in paths[1:] for name in contents(path)}
    back = restored(store.url("shop/models/a"), tmp_path / "b")
    assert back is not None
    assert contents(back) == contents(paths[2])


@pytest.mark.slow
def test_a_store_that_is_away_for_a_while_is_said_and_tried_again(
    store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = Checkpoints(tmp_path / "a")
    copies = CheckpointCopies(RemoteFolder(store.url("shop/a")), 3, retry=0.05)
    store.away = True
    copies.offer(write(here, 1))
    copies.settle()
    assert "check the network and the address of the store" in str(copies.status["trouble"])
    assert len(store.requests) > 0
    assert not store.objects["shop"]
    store.away = False
    until(lambda: copies.status.get("step") == 1)
    assert "trouble" not in copies.status
    copies.close()
    assert [record.levelname for record in caplog.records if "is not copied" in record.message] == ["WARNING"]
    assert restored(store.url("shop/a"), tmp_path / "b") is not None


def test_without_an_answer_what_is_here_is_gone_on_from_and_nothing_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_self: RemoteFolder) -> None:
        raise CheckpointError("the store is away")

    monkeypatch.setattr(RemoteFolder, "make", away)
    with pytest.raises(CheckpointError, match="the store is away"):
        restored("memory://a/b", tmp_path / "empty")
    path = write(Checkpoints(tmp_path / "a"), 4)
    assert restored("memory://a/b", tmp_path / "a") == path
    assert f"the store is away. Training goes on from {path}" in caplog.text


@pytest.mark.parametrize(
    ("place", "key", "remedy"),
    [("none/a", "tester", "make the bucket, or name another"), ("shop/a", "stranger", "check the credentials")],
    ids=["no such bucket", "wrong credentials"],
)
def test_what_is_wrong_with_a_store_is_said_at_the_start(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, key: str, remedy: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    with pytest.raises(CheckpointError, match=remedy):
        restored(store.url(place), tmp_path / "a")


def test_an_unknown_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"zzz://a/b: .*checkpoint_url"):
        restored("zzz://a/b", tmp_path)
