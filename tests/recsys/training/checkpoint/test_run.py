"""The run of a checkpoint, also of one that was written before runs had names."""

from __future__ import annotations

import json
from pathlib import Path

from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import MANIFEST, RUN, saved_run, verify


def written(folder: Path, step: int = 1) -> Path:
    checkpoints = Checkpoints(folder)
    with checkpoints.writing(step) as part:
        (part / RUN).write_text("0a1b2c3d")
    path = checkpoints.newest()
    assert path is not None
    return path


def as_format_3(path: Path) -> None:
    (path / "rank-0" / RUN).rename(path / "rank-0" / "state")
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["files"] = {"rank-0/state": manifest["files"][f"rank-0/{RUN}"]}
    (path / MANIFEST).write_text(json.dumps(manifest | {"format": 3}))


def test_a_checkpoint_keeps_its_run(tmp_path: Path) -> None:
    assert saved_run(written(tmp_path)) == "0a1b2c3d"


def test_one_of_the_format_before_has_a_run_that_is_always_the_same(tmp_path: Path) -> None:
    path = written(tmp_path)
    as_format_3(path)
    verify(path)
    assert saved_run(path) == saved_run(path) != "0a1b2c3d"
    assert len(saved_run(path)) == 8
    assert int(saved_run(path), 16) >= 0
