"""500 candidates over HTTP: the whole server on one core, its client on another.

The network and the requests are those of `benchmarks/_served.py`.

Milliseconds depend on the machine: the same network alone in eager PyTorch took 21.6 ms on one core of the one for
which the targets were set. It is timed here too, so the targets are also given as multiples of it.
"""

from __future__ import annotations

import http.client
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks._served import (
    CANDIDATES,
    DIM,
    SPEC,
    WARM_UP,
    bodies,
    cpu_of,
    first_core,
    get,
    model,
    published,
    server,
    wait_until_ready,
)
from benchmarks.harness import Result, Target
from recsys.training.export.exporter import Exporter
from serving.model.autoint.autoint_scorer import AutoIntScorer
from serving.model.autoint.lane_pairs import multiplies_pairs
from serving.model.graph_reader import read_graph
from serving.model.scorer import load_scorer

EAGER = 21.6
"""Milliseconds of the network alone in eager PyTorch on the machine of the targets."""
STAGES = ("parse", "encode", "rows", "score", "order", "respond")


def run(quick: bool) -> Result:
    requests = 200 if quick else 2000
    rng = np.random.default_rng(0)
    server_core = first_core()
    with published(rng) as folder, server(server_core, folder / "redis", folder / "log") as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        wait_until_ready(connection)
        for body in bodies(rng, WARM_UP):
            post(connection, body)
        before, cpu = _stages(connection), cpu_of(process)
        milliseconds = [post(connection, body) * 1000 for body in bodies(rng, requests)]
        stages = {name: 1000 * (s - before[name]) / requests for name, s in _stages(connection).items()}
        cpu = 1000 * (cpu_of(process) - cpu) / requests
        durable = _beside("durable", server_core, folder, connection, rng, requests // 4)
        kernel = _beside("numba", server_core, folder, connection, rng, requests // 4)
        mixed = _beside("mixed", server_core, folder, connection, rng, requests // 4)
        away, away_mixed = _differences(rng)
        eager = _eager()
    p50, p99 = np.percentile(milliseconds, [50, 99])
    with_kernel, beside = np.median(kernel, axis=0).tolist()
    with_mixed, beside_mixed = np.median(mixed, axis=0).tolist()
    targets = [
        Target("p50 ms to rank 500 candidates over HTTP, one core", float(p50), 12.0, "lower"),
        Target("p99 ms to rank 500 candidates over HTTP, one core", float(p99), 25.0, "lower"),
        Target("p50 over the network alone in eager PyTorch", float(p50) / eager, 12.0 / EAGER, "lower"),
        Target("p99 over the network alone in eager PyTorch", float(p99) / eager, 25.0 / EAGER, "lower"),
        Target("p50 with the kernel of AutoInt over p50 with OpenVINO, in turns", with_kernel / beside, 0.75, "lower"),
        Target("p99 over p50 with the kernel", float(np.percentile(kernel[:, 0], 99)) / with_kernel, 1.3, "lower"),
        Target("largest difference of a score from OpenVINO's", away, 1e-4, "lower"),
    ]
    if multiplies_pairs():
        name = "p50 with the kernel in mixed precision over p50 with OpenVINO, in turns"
        targets += [
            Target(name, with_mixed / beside_mixed, 0.5, "lower"),
            Target("largest difference of a score in mixed precision from OpenVINO's", away_mixed, 5e-4, "lower"),
        ]
    mean = float(np.mean(milliseconds))
    raw = {
        "stages_ms": stages,
        "mean_ms": mean,
        "server_cpu_ms": cpu,
        "eager_ms": eager,
        "durable_ms": dict(zip(("waiting", "not_waiting"), np.median(durable, axis=0).tolist(), strict=True)),
        "kernel_ms": {"kernel": with_kernel, "openvino": beside},
        "mixed_ms": {"mixed": with_mixed, "openvino": beside_mixed},
        "requests": requests,
        "ms": milliseconds,
    }
    return Result("serve", targets, raw)


def _beside(
    option: str, core: int, folder: Path, beside: http.client.HTTPConnection, rng: np.random.Generator, requests: int
) -> npt.NDArray[np.float64]:
    """Milliseconds [requests, 2] of a server with `option`, and of the one `beside` it without, in turns."""
    with server(core, folder / "redis", folder / f"{option} log", option) as (_, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        wait_until_ready(connection)
        for body in bodies(rng, WARM_UP):
            post(connection, body)
        beside.close()  # the server has closed what was idle; the next request connects again
        return 1000 * np.array([(post(connection, body), post(beside, body)) for body in bodies(rng, requests)])


def _eager() -> float:
    """Milliseconds (median) that the network alone takes in PyTorch, on this process's one core."""
    torch.set_num_threads(1)
    ranker = model().eval()
    embedded_CFD, numeric_CN = torch.randn(CANDIDATES, len(SPEC.sparse), DIM), torch.empty(CANDIDATES, 0)
    seconds = []
    with torch.inference_mode():
        for _ in range(60):
            started = time.perf_counter()
            ranker(embedded_CFD, numeric_CN)
            seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def _differences(rng: np.random.Generator) -> tuple[float, float]:
    """The largest ones between the kernel's probabilities and OpenVINO's, of the candidates of one request.

    In float32, and in mixed precision, 0 where the processor lacks it.
    """
    ranker = model()
    graph = Exporter(ranker, SPEC).graph(ranker)
    of_item = sum(field.of_item for field in SPEC.sparse)
    sizes = (1, len(SPEC.sparse) - of_item, DIM), (CANDIDATES, of_item, DIM), (1, 0), (CANDIDATES, 0)
    inputs = [rng.normal(0, 0.1, size).astype(np.float32) for size in sizes]
    read, theirs_CT = read_graph(graph), load_scorer(graph).score(*inputs)
    kernels = [AutoIntScorer(read, mixed=mixed) for mixed in (False, True) if multiplies_pairs() or not mixed]
    away = [float(np.abs(one.score(*inputs) - theirs_CT).max()) for one in kernels]
    return away[0], away[-1] if multiplies_pairs() else 0.0


def post(connection: http.client.HTTPConnection, body: bytes) -> float:
    """Seconds from sending to the last byte of the answer."""
    began = time.perf_counter()
    connection.request("POST", "/v1/rank", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    seconds = time.perf_counter() - began
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {content[-200:]!r}")
    return seconds


def _stages(connection: http.client.HTTPConnection) -> dict[str, float]:
    """Seconds spent so far, by stage."""
    _, text = get(connection, "/metrics")
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(lines[f'recsys_stage_seconds_sum{{stage="{name}"}}']) for name in STAGES}
