"""A machine of a Ray cluster is lost for good: training goes on with the workers that are left."""

from __future__ import annotations

import os
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
from recsys.training.checkpoint.checkpoints import Checkpoints
from tests.faults.test_trainer import ROOT, SETTINGS, train, workspace
from tests.serving.waiting import until

pytestmark = pytest.mark.slow

EVENTS = 6_000
ON_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
NODE: dict[str, Any] = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without room for workers, and two machines with room for one each."""
    for name, value in ON_LOOPBACK.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **NODE)
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def test_training_goes_on_with_the_workers_that_are_left(tmp_path: Path, cluster: Cluster) -> None:
    (tmp_path / "recsys.toml").write_text(SETTINGS)
    config = load(tmp_path / "recsys.toml")
    log = wiring.event_log(config)
    log.append(next(iter(movielens_small(ROOT / "examples" / "ml-latest-small"))).slice(0, EVENTS))
    log.close()
    alone = workspace(config, "alone")
    train(alone)
    folder = workspace(config, "lost", f"workers = 2\nmin_workers = 1\nray = '{cluster.address}'\n")
    command = [sys.executable, "-c", "from recsys.cli import main; main()", "train", "--once", "--no-publish"]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: steps(folder) or process.poll() is not None, seconds=200)
        assert process.poll() is None, "it was lost in the middle"
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        process.wait(timeout=300)
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        for child in children:
            if child.is_running():
                child.kill()
    words = (folder / "said").read_text()
    assert process.returncode == 0, words
    assert "Worker 1 is process" in words, "there were two"
    assert "Resumed from" in words
    assert "Worker 1 is process" not in words[words.rindex("Worker 0 is process") :], "one was left"
    assert steps(folder) == steps(alone)
    assert (newest(folder) / "rank-0" / "feed.bin").read_bytes() == (newest(alone) / "rank-0" / "feed.bin").read_bytes()


def steps(folder: Path) -> int:
    """Of the newest checkpoint; 0 before there is one."""
    found = Checkpoints(folder / "run" / "checkpoints").all()
    return int(found[-1].name.removeprefix("step-")) if found else 0


def newest(folder: Path) -> Path:
    return Checkpoints(folder / "run" / "checkpoints").all()[-1]
