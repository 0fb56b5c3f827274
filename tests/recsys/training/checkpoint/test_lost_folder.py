"""A trainer whose machine is lost: what it learned comes back from the object store, and it ends in the same state."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.errors import CheckpointError
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.object_store import ObjectStore
from tests.projects import SMALL

SETTINGS = '[training]\nwait = "1s"\nlateness = "1s"\nbatch_size = 16\ncheckpoint_every = 2\n' + SMALL
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from recsys import wiring
from recsys.config.file import load

def crash(point):
    if point == "step" and trainer.learner.steps == 9:
        trainer._copies.settle()  # so that there is one
        os.kill(os.getpid(), signal.SIGKILL)

with wiring.trainer(load(Path(sys.argv[1])), publish=False, crash=crash) as trainer:
    trainer.resume()
    trainer.run(follow=False, stop=threading.Event())
"""


def events() -> list[Event]:
    return [
        event
        for i in range(200)
        for event in (Impression(f"i{i}", 1000 * i, f"u{i % 5}", ["a", "b"]), Interaction(1000 * i, f"i{i}", "a"))
    ]


def project(folder: Path, url: str = "") -> Path:
    folder.mkdir()
    file = folder / "recsys.toml"
    file.write_text(SETTINGS.replace("[training]", f'[training]\ncheckpoint_url = "{url}"'))
    wiring.event_log(load(file)).append(encode_events(events()))
    return file


def trained(file: Path) -> tuple[Path | None, str, dict[str, Any]]:
    """What training to the end of the log resumed from, its state in the end, and what it says of the copies."""
    with wiring.trainer(load(file), publish=False) as trainer:
        resumed = trainer.resume()
        trainer.run(follow=False, stop=threading.Event())
        return resumed, trainer.digest(), dict(trainer._report()["checkpoint"])


@pytest.mark.slow
def test_a_machine_that_is_lost_is_replaced_by_another(store: ObjectStore, tmp_path: Path) -> None:
    _, expected, plain = trained(project(tmp_path / "whole"))
    assert "copy" not in plain
    first = project(tmp_path / "first", store.url("shop/model"))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(first)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not list(first.parent.rglob("step-000000000010"))
    shutil.copytree(first.parent, tmp_path / "second", ignore=shutil.ignore_patterns("checkpoints"))
    resumed, state, said = trained(tmp_path / "second" / "recsys.toml")
    assert resumed is not None
    assert resumed.parent == tmp_path / "second" / "run" / "checkpoints"
    assert 2 <= int(resumed.name.removeprefix("step-")) <= 8
    assert state == expected
    copy = said["copy"]
    assert copy["step"] == said["step"] > 9


@pytest.mark.slow
def test_training_goes_on_while_the_store_refuses(store: ObjectStore, tmp_path: Path) -> None:
    file = project(tmp_path / "p", store.url("shop/model"))
    store.refuses = lambda method, path: method == "PUT" and path.endswith(".safetensors")
    _, _, said = trained(file)
    copy = said["copy"]
    assert "cannot be written" in copy["trouble"]
    assert said["step"] > 9, "checkpoints here are written as ever"
    assert not any(name.endswith("step/manifest.json") for name in store.objects["shop"])
    store.refuses = lambda _method, _path: False
    resumed, _, said = trained(file)
    assert resumed is not None
    assert said["copy"] == {"step": said["step"], "written": said["copy"]["written"], "failed": 0}
    store.objects["shop"].clear()
    store.objects.pop("shop")
    with pytest.raises(CheckpointError, match="make the bucket"):
        trained(project(tmp_path / "q", store.url("shop/model")))
