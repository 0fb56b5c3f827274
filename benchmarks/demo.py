"""The demo, as `make demo` runs it after the installation: wall time, and resident memory of all its processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.harness import Result, Target

EVERY = 0.1
"""Seconds between two measurements of memory."""
GIB = 1 << 30


def run(quick: bool) -> Result:
    """`quick` has no effect: the demo is the same."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "recsys", "demo", "--folder", str(Path(folder) / "demo")]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(EVERY)
        seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"the demo ended with {process.returncode}")
    targets = [
        Target("seconds of the demo", seconds, 60, "lower"),
        Target("GiB resident in all processes together, at most", peak / GIB, 2, "lower"),
    ]
    return Result("demo", targets, {"quick": quick, "sampled every s": EVERY})


def _resident(pid: int) -> int:
    """Sum over the process and its descendants; a page that several share counts several times."""
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True), *_servers()]
    except psutil.NoSuchProcess:
        return 0
    for member in set(family):
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _servers() -> list[psutil.Process]:
    """The embedded server, a daemon and so not our descendant, found by the name and age of its process."""
    mine = psutil.Process().create_time()
    found = psutil.process_iter(["name", "create_time"])
    return [p for p in found if p.info["name"] in ("valkey-server", "redis-server") and p.info["create_time"] >= mine]
