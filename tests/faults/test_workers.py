"""kill -9 of workers that train together, and of Ray: those started anew end in the state of workers that lived."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.datasets.movielens import movielens_small
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.wiring.group import channel, follower, leading_learner
from tests.embedding.torchrec.processes import run
from tests.faults.test_trainer import ROOT, SETTINGS
from tests.serving.waiting import ended, until

pytestmark = pytest.mark.slow

EVENTS = 6_000
WORKERS = 2
VICTIM = 0
"""The worker that leads: with it goes the process that reads the log and writes checkpoints."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log."""
    base = tmp_path_factory.mktemp("workers")
    log = wiring.event_log(load(workspace(base, "writer") / "recsys.toml"))
    log.append(next(iter(movielens_small(ROOT / "examples" / "ml-latest-small"))).slice(0, EVENTS))
    log.close()
    return base


@pytest.fixture
def folder(base: Path, request: pytest.FixtureRequest) -> Path:
    return workspace(base, request.node.name)


def workspace(base: Path, name: str) -> Path:
    folder = base / name
    folder.mkdir()
    (folder / "recsys.toml").write_text(f"[log]\nurl = 'file:{base / 'log'}'\n{SETTINGS}workers = {WORKERS}\n")
    return folder


def train_without_ray(rank: int, _world: int, folder: Path) -> None:
    config = load(folder / "recsys.toml")
    if rank:
        follower(config, channel()).run()
        return
    learner = leading_learner(config, channel())
    with wiring.trainer(config, publish=False, learns=learner) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event())
        (folder / "digest").write_text(trainer.digest())
    learner.dismiss()


@pytest.fixture(scope="module")
def uninterrupted(base: Path) -> str:
    alive = workspace(base, "uninterrupted")
    run(WORKERS, train_without_ray, alive)
    return (alive / "digest").read_text()


@pytest.fixture
def training(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """It follows the log, so it ends when it is asked to: whoever is to be killed is there, however busy this is."""
    command = [sys.executable, "-c", "from recsys.cli import main; main()", "train", "--no-publish"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "RAY_gcs_rpc_server_reconnect_timeout_s": "20"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.communicate()
        for child in children:
            if child.is_running():
                child.kill()


def next_worker(training: subprocess.Popen[str], rank: int, said: list[str]) -> psutil.Process:
    """The process that the output names next as the worker of this rank."""
    assert training.stdout is not None
    for line in training.stdout:
        said.append(line)
        if found := re.search(rf"Worker {rank} is process (\d+)", line):
            return psutil.Process(int(found[1]))
    raise AssertionError(f"no worker {rank} in {''.join(said)}")


def checkpoints(folder: Path) -> list[Path]:
    """Those that are complete: one whose manifest has been written has still to be renamed."""
    return Checkpoints(folder / "run" / "checkpoints").all()


def killed_worker(training: subprocess.Popen[str], folder: Path, said: list[str]) -> psutil.Process:
    """The leading worker, which listened on loopback alone and was killed when there was a checkpoint.

    On a busy machine Ray may have given it up before, and started another one, whose name comes next.
    """
    while True:
        worker = next_worker(training, VICTIM, said)
        try:
            listening = {at.laddr.ip for at in worker.net_connections() if at.status == psutil.CONN_LISTEN}
            assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
            until(lambda: checkpoints(folder) or training.poll() is not None)
            worker.kill()
        except psutil.NoSuchProcess:
            continue
        psutil.wait_procs([worker])
        return worker


def test_workers_that_are_killed_are_started_anew_and_learn_the_same(
    folder: Path, uninterrupted: str, training: subprocess.Popen[str]
) -> None:
    said: list[str] = []
    worker = killed_worker(training, folder, said)
    assert next_worker(training, VICTIM, said).pid != worker.pid
    training.terminate()
    rest, _ = training.communicate(timeout=200)
    assert training.returncode == 0, rest
    assert "Resumed from" in rest
    assert digest_at_the_end(folder) == uninterrupted


def test_when_the_head_of_ray_is_killed_training_ends_and_goes_on_when_it_is_started_again(
    folder: Path, uninterrupted: str, training: subprocess.Popen[str]
) -> None:
    worker = next_worker(training, VICTIM, [])
    until(lambda: checkpoints(folder) or training.poll() is not None)
    (head,) = (child for child in psutil.Process(training.pid).children() if child.name() == "gcs_server")
    head.kill()
    until(lambda: ended(head.pid))
    said, _ = training.communicate(timeout=200)
    assert training.returncode == 1, said
    until(lambda: ended(worker.pid))
    assert digest_at_the_end(folder) == uninterrupted


def digest_at_the_end(folder: Path) -> str:
    """Of workers that have gone on from the newest checkpoint."""
    run(WORKERS, train_without_ray, folder)
    return (folder / "digest").read_text()
