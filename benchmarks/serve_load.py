"""500 candidates over HTTP from 1, 8 and 64 clients at once, with admission control and without; one core.

Each client sends its next request when it has its answer. Refused with 429, a *patient* one waits as long as the answer
says; an *impatient* one asks again at once, which is the worst case: refusing takes the same core. An answer that says
`deadline` in `degraded` is ranked by popularity, not by the model. What is served: `benchmarks/_served.py`.
"""

from __future__ import annotations

import http.client
import os
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._served import bodies, cores, publish, server, wait_until_ready
from benchmarks.harness import Result, Target
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher

CLIENTS = (1, 8, 64)
_BY_MODEL = b'"degraded":[]'
_HEADERS = {"Content-Type": "application/json"}


@dataclass
class Tally:
    """What clients got. `milliseconds` are of answers with 200."""

    seconds: float
    by_model: int = 0
    degraded: int = 0
    refused: int = 0
    milliseconds: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        admitted = self.by_model + self.degraded
        p50, p99 = np.percentile(self.milliseconds, [50, 99])
        return {
            "by_model_of_admitted": self.by_model / admitted,
            "by_model_per_second": self.by_model / self.seconds,
            "refused_of_all": self.refused / (admitted + self.refused),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
        }


def run(quick: bool) -> Result:
    seconds = 2.0 if quick else 15.0
    rng = np.random.default_rng(0)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server_core, client_core = cores()
        os.sched_setaffinity(0, {client_core})
        stack.callback(os.sched_setaffinity, 0, {server_core, client_core})
        redis_folder = Path(folder) / "redis"
        with stack.enter_context(EmbeddedRedis(redis_folder)).client() as client:
            publish(Publisher(client, "online"), rng)
        pool = list(bodies(rng, 64 if quick else 256))
        ports = {}
        for overload in ("refuse", "popularity"):
            _, ports[overload] = stack.enter_context(
                server(server_core, redis_folder, Path(folder) / overload, overload)
            )
            _warm_up(ports[overload], pool)
        for clients in CLIENTS:
            for overload, port in ports.items():
                figures[f"{overload} {clients}"] = _load(port, pool, clients, seconds, patient=True).figures()
        figures["refuse 64 impatient"] = _load(ports["refuse"], pool, 64, seconds, patient=False).figures()
    return Result("serve_load", _targets(figures), figures | {"seconds": seconds})


def _targets(figures: dict[str, Any]) -> list[Target]:
    targets = []
    for kind in ("64", "64 impatient"):
        told = figures[f"refuse {kind}"]
        targets.append(Target(f"answers by the model, of those admitted, {kind}", told["by_model_of_admitted"], 0.95))
    kept = figures["refuse 64"]["by_model_per_second"] / figures["refuse 8"]["by_model_per_second"]
    without = figures["refuse 64"]["by_model_per_second"] / max(figures["popularity 64"]["by_model_per_second"], 1e-9)
    return [
        *targets,
        Target("answers by the model a second, 64 clients over 8", kept, 0.9),
        Target("the same, 64 clients over those without admission control", without, 1.5),
        Target(
            "p99 ms of those admitted, 64 clients, over the deadline",
            figures["refuse 64"]["p99_ms"] / 200,
            1.1,
            "lower",
        ),
    ]


def _warm_up(port: int, pool: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    wait_until_ready(connection)
    for body in pool:
        _ask(connection, body)
    connection.close()


def _ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes, str | None]:
    connection.request("POST", "/v1/rank", body, _HEADERS)
    response = connection.getresponse()
    return response.status, response.read(), response.getheader("Retry-After")


def _load(port: int, pool: list[bytes], clients: int, seconds: float, *, patient: bool) -> Tally:
    """What this many clients got within these seconds."""
    parts = [Tally(seconds) for _ in range(clients)]
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_client, args=(port, pool[number % len(pool) :], end, patient, part))
        for number, part in enumerate(parts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [one for part in parts for one in part.milliseconds]
    return Tally(
        seconds, sum(p.by_model for p in parts), sum(p.degraded for p in parts), sum(p.refused for p in parts), times
    )


def _client(port: int, pool: list[bytes], end: float, patient: bool, tally: Tally) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    number = 0
    while (began := time.monotonic()) < end:
        status, content, wait = _ask(connection, pool[number % len(pool)])
        number += 1
        if status == 429:
            tally.refused += 1
            if patient:
                time.sleep(min(float(wait or 0), max(end - time.monotonic(), 0.0)))
            continue
        if status != 200:
            raise RuntimeError(f"{status}: {content[-200:]!r}")
        tally.milliseconds.append(1000 * (time.monotonic() - began))
        if content.endswith(_BY_MODEL + b"}"):
            tally.by_model += 1
        else:
            tally.degraded += 1
    connection.close()
