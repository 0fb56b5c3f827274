"""A machine of a Ray cluster is lost: training goes on with the workers that are left, until there is room again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

from recsys import wiring
from recsys.config.file import load
from recsys.datasets.movielens import movielens_small
from recsys.errors import CheckpointError
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.lock import exclusive
from tests.faults.test_trainer import ROOT, SETTINGS, train, workspace
from tests.serving.waiting import ended, until

pytestmark = pytest.mark.slow

EVENTS = 6_000
FIRST, SECOND, RESUMED = "Worker 0 is process", "Worker 1 is process", "Resumed from"
"""What the workers say when they start, and when they go on from a checkpoint."""
ON_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
NICENESS = {"RAY_worker_niceness": "0"}
"""Else 15, at which other tests starve the workers."""
NODE: dict[str, Any] = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without room for workers, and two machines with room for one each."""
    for name, value in (ON_LOOPBACK | NICENESS).items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **NODE)
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def folder(tmp_path: Path, cluster: Cluster) -> Path:
    """A project whose workers follow its log; `alone` beside it has that of a single process."""
    (tmp_path / "recsys.toml").write_text(SETTINGS)
    config = load(tmp_path / "recsys.toml")
    log = wiring.event_log(config)
    log.append(next(iter(movielens_small(ROOT / "examples" / "ml-latest-small"))).slice(0, EVENTS))
    log.close()
    train(workspace(config, "alone"))
    return workspace(config, "lost", f"workers = 2\nmin_workers = 1\nray = '{cluster.address}'\n")


@pytest.fixture
def training(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """It looks for room every second."""
    program = "from recsys.workers import ray_job; ray_job.ROOM_EVERY = 1.0; from recsys.cli import main; main()"
    command = [sys.executable, "-c", program, "train", "--no-publish"]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        for child in children:
            if child.is_running():
                child.kill()


def test_training_goes_on_with_the_workers_that_are_left_and_with_more_when_there_is_room(
    folder: Path, cluster: Cluster, training: subprocess.Popen[bytes]
) -> None:
    def times(text: str) -> int:
        """How often the command has said so."""
        assert training.poll() is None, said(folder)
        return said(folder).count(text)

    until(lambda: times(SECOND) and steps(folder), seconds=200)
    starts, pairs = times(FIRST), times(SECOND)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    until(lambda: times(RESUMED), seconds=200)
    assert times(FIRST) > starts
    assert times(SECOND) == pairs, "one was left"
    cluster.add_node(num_cpus=1, **NODE)
    until(lambda: times(SECOND) > pairs and times(RESUMED) > 1, seconds=200)
    training.kill()
    until(lambda: all(ended(int(pid)) for pid in re.findall(r"is process (\d+)", said(folder))))
    until(lambda: is_free(folder / "run" / "checkpoints"))  # also of a worker that did not come to say who it is
    ends_as_one_process(folder)


def is_free(checkpoints: Path) -> bool:
    try:
        with exclusive(checkpoints, remedy=""):
            return True
    except CheckpointError:
        return False


def said(folder: Path) -> str:
    return (folder / "said").read_text()


def ends_as_one_process(folder: Path) -> None:
    """Learn what is left of the log: what the stream keeps is then that of a process that was alone, to the bit."""
    alone = folder.with_name("alone")
    (folder / "recsys.toml").write_text((alone / "recsys.toml").read_text())
    train(folder)
    assert steps(folder) == steps(alone)
    assert (newest(folder) / "rank-0" / "feed.bin").read_bytes() == (newest(alone) / "rank-0" / "feed.bin").read_bytes()


def steps(folder: Path) -> int:
    """Of the newest checkpoint; 0 before there is one."""
    found = Checkpoints(folder / "run" / "checkpoints").all()
    return int(found[-1].name.removeprefix("step-")) if found else 0


def newest(folder: Path) -> Path:
    return Checkpoints(folder / "run" / "checkpoints").all()[-1]
