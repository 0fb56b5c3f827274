"""500 candidates over HTTP from 1 and 8 clients: one and two processes of `recsys serve`, and as replicas of Ray Serve.

All that a server starts, Ray's own processes too, has as many cores as there are replicas, and the clients another one;
of two cores the second server shares one with the clients. The servers take turns, and each starts anew in every round.
What is served: `benchmarks/_served.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from benchmarks._served import bodies, published
from benchmarks.harness import Result, Target, median, ratio
from benchmarks.serve_load import load, warm_up
from recsys.commands.demo.ports import free_port

SERVERS = {
    f"{count} {what}": (count, more)
    for count in (1, 2)
    for what, more in {"processes": [], "replicas": ["--ray", "local"]}.items()
}
CLIENTS = (1, 8)
_SETTINGS = '[redis]\nfolder = "redis"\n[serving]\nthreads = 1\n'
Rounds = dict[str, list[dict[str, float]]]


def run(quick: bool) -> Result:
    rounds, seconds = (1, 2.0) if quick else (3, 15.0)
    rng = np.random.default_rng(0)
    found: Rounds = {f"{name}, {clients} clients": [] for name in SERVERS for clients in CLIENTS}
    busy = os.getloadavg()[0]
    with published(rng) as folder:
        (folder / "recsys.toml").write_text(_SETTINGS)
        pool = list(bodies(rng, 32 if quick else 64))
        for _ in range(rounds):
            for name, (count, more) in SERVERS.items():
                with _server(folder, count, more) as running:
                    for _ in range(count):
                        warm_up(running[1], pool)
                    for clients in CLIENTS:
                        tally = load(running, pool, clients, seconds, patient=True)
                        found[f"{name}, {clients} clients"].append(tally.figures())
    medians = {name: {what: median([one[what] for one in each]) for what in each[0]} for name, each in found.items()}
    return Result("ray_serving", _targets(found), {"medians": medians, "rounds": found, "load_before": busy})


def _targets(found: Rounds) -> list[Target]:
    def over(one: str, other: str, what: str) -> float:
        return ratio(*([each[what] for each in found[name]] for name in (one, other)))

    second, cpu = "by_model_per_second", "by_model_per_cpu_second"
    one, two = (
        ("1 replicas, 8 clients", "1 processes, 8 clients"),
        ("2 replicas, 8 clients", "2 processes, 8 clients"),
    )
    alone = "1 replicas, 1 clients", "1 processes, 1 clients", "p50_ms"
    return [
        Target("answers a second, one replica over one process", over(*one, second), 0.9),
        Target("answers a second, two replicas over two processes", over(*two, second), 0.9),
        Target("answers in a second of CPU, one replica over one process", over(*one, cpu), 0.9),
        Target("answers in a second of CPU, two replicas over two processes", over(*two, cpu), 0.9),
        Target("p50 of one client, one replica over one process", over(*alone), 1.2, "lower"),
    ]


@contextmanager
def _server(folder: Path, count: int, more: list[str]) -> Iterator[tuple[psutil.Process, int]]:
    """`recsys serve` on the first `count` cores: its process and its port."""
    port = free_port()
    command = [sys.executable, "-m", "recsys", "serve", "-c", str(folder / "recsys.toml"), "--port", str(port)]
    command += ["--processes", str(count), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        server = psutil.Process(process.pid)
        server.cpu_affinity(list(range(count)))  # before it starts others, which inherit it
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it answers
            yield server, port
        finally:
            process.terminate()
