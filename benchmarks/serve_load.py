"""500 candidates over HTTP from 1, 8 and 64 clients at once: one process with admission control and without, and two.

Each client sends its next request when it has its answer. Refused with 429, a *patient* one waits as long as the answer
says; an *impatient* one asks again at once, which is the worst case: refusing takes the same core. An answer that says
`deadline` in `degraded` is ranked by popularity, not by the model. What is served: `benchmarks/_served.py`.

Each process has a core, and the clients another one. Of two cores the second process shares one with the clients, so
what two processes would do on two cores of their own is then told by their CPU time alone: answers of the model in a
second of CPU, those by two over those by one, times two.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from benchmarks._served import bodies, cpu_of, published, server, wait_until_ready
from benchmarks.harness import Result, Target, ratio

CLIENTS = (1, 8, 64)
_BY_MODEL = b'"degraded":[]'
_HEADERS = {"Content-Type": "application/json"}


@dataclass
class Tally:
    """What clients got. `milliseconds` are of answers with 200."""

    seconds: float
    cpu: float = 0.0
    """Seconds that the server took."""
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
            "by_model_per_cpu_second": self.by_model / max(self.cpu, 0.01),
            "refused_of_all": self.refused / (admitted + self.refused),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
        }


def run(quick: bool) -> Result:
    seconds = 1.5 if quick else 15.0
    rng = np.random.default_rng(0)
    figures: dict[str, Any] = {}
    all_cores = sorted(os.sched_getaffinity(0))
    servers = {"refuse": all_cores[:1], "popularity": all_cores[:1], "two": all_cores[:2]}
    with published(rng) as folder, ExitStack() as stack:
        pool = list(bodies(rng, 64 if quick else 256))
        running = {}
        for name, cores in servers.items():
            running[name] = stack.enter_context(server(cores, folder / "redis", folder / name, name))
            for _ in cores:
                warm_up(running[name][1], pool)
        for clients in CLIENTS:
            for name in ("refuse", "popularity"):
                figures[f"{name} {clients}"] = load(running[name], pool, clients, seconds, patient=True).figures()
        figures["two 64"] = load(running["two"], pool, 64, seconds, patient=True).figures()
        for number in range(3 if quick else 10):
            for name in ("refuse", "two"):
                figures[f"{name} 8 {number}"] = load(running[name], pool, 8, seconds, patient=True).figures()
        figures["refuse 64 impatient"] = load(running["refuse"], pool, 64, seconds, patient=False).figures()
    own_cores = len(all_cores) > len(servers["two"])
    return Result("serve_load", _targets(figures, own_cores=own_cores), figures | {"seconds": seconds})


def _targets(figures: dict[str, Any], *, own_cores: bool) -> list[Target]:
    def over(one: str, other: str) -> float:
        return float(figures[one]["by_model_per_second"] / max(figures[other]["by_model_per_second"], 1e-9))

    def two_over_one(what: str) -> float:
        rounds = [name.rpartition(" ")[2] for name in figures if name.startswith("two 8 ")]
        one, two = ([figures[f"{name} 8 {number}"][what] for number in rounds] for name in ("refuse", "two"))
        return ratio(two, one)

    admitted = {kind: figures[f"refuse {kind}"]["by_model_of_admitted"] for kind in ("64", "64 impatient")}
    late, scaled = figures["refuse 64"]["p99_ms"] / 200, 2 * two_over_one("by_model_per_cpu_second")
    return [
        *(Target(f"answers by the model, of those admitted, {kind}", value, 0.95) for kind, value in admitted.items()),
        Target("answers by the model a second, 64 clients over 8", over("refuse 64", "refuse 8"), 0.9),
        Target("the same, 64 clients over those without admission control", over("refuse 64", "popularity 64"), 1.5),
        Target("p99 ms of those admitted, 64 clients, over the deadline", late, 1.1, "lower"),
        Target("answers in a second of CPU, two processes over one, times 2", scaled, 1.9),
        *([Target("answers a second, two processes over one", two_over_one("by_model_per_second"), 1.9)] * own_cores),
    ]


def warm_up(port: int, pool: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    wait_until_ready(connection)
    for body in pool:
        _ask(connection, body)
    connection.close()


def _ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes, str | None]:
    connection.request("POST", "/v1/rank", body, _HEADERS)
    response = connection.getresponse()
    return response.status, response.read(), response.getheader("Retry-After")


def load(asked: tuple[psutil.Process, int], pool: list[bytes], clients: int, seconds: float, *, patient: bool) -> Tally:
    """What this many clients got within these seconds."""
    process, port = asked
    parts = [Tally(seconds) for _ in range(clients)]
    end, before = time.monotonic() + seconds, cpu_of(process)
    threads = [
        threading.Thread(target=_client, args=(port, pool[number % len(pool) :], end, patient, part))
        for number, part in enumerate(parts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Tally(seconds, cpu_of(process) - before)
    for part in parts:
        whole.by_model += part.by_model
        whole.degraded += part.degraded
        whole.refused += part.refused
        whole.milliseconds += part.milliseconds
    return whole


def _client(port: int, pool: list[bytes], end: float, patient: bool, tally: Tally) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    number = 0
    while (began := time.monotonic()) < end:
        status, content, wait = _ask(connection, pool[number % len(pool)])
        number += 1
        if status == 429:
            tally.refused += 1
            if wait is None:
                raise RuntimeError("429 without Retry-After")
            if patient:
                time.sleep(min(float(wait), max(end - time.monotonic(), 0.0)))
            continue
        if status != 200:
            raise RuntimeError(f"{status}: {content[-200:]!r}")
        tally.milliseconds.append(1000 * (time.monotonic() - began))
        if content.endswith(_BY_MODEL + b"}"):
            tally.by_model += 1
        else:
            tally.degraded += 1
    connection.close()
