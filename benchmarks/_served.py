"""A server of 500 candidates in a process of its own, what it serves, and requests to it.

AutoInt with 20 fields (12 of the request, 8 of the item, whose features the server has from Redis), D = 16, 3 layers,
2 heads, 64 units, MLP 400-400. The answer has all 500 items with scores, and the impression is logged with fsync.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import psutil

from benchmarks._waiting import until
from embedding.store import Delta, TableDelta
from recsys.models import AutoInt, RankingModel, build
from recsys.training.export.exporter import Exporter
from serving.model.artefact import RANKER, Artefact
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.scaling import RunningMoments
from streaming.events.schema import Features

DIM = 16
CANDIDATES = 500
ITEMS = 20_000
USERS = 10_000
WARM_UP = 300
"""Requests not measured: after them nearly all items are cached."""
VALUES = 1000
"""Different values of each feature."""
REQUEST_FEATURES = [f"r{i}" for i in range(10)]
ITEM_FEATURES = [f"i{i}" for i in range(7)]
SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("hour", "categorical", "time.hour"),
        *(Field(name, "categorical", f"request.{name}") for name in REQUEST_FEATURES),
        Field("item", "categorical", "item"),
        *(Field(name, "categorical", f"item.{name}") for name in ITEM_FEATURES),
    ]
)


def first_core() -> int:
    """The server's."""
    return min(os.sched_getaffinity(0))


@contextmanager
def published(rng: np.random.Generator) -> Iterator[Path]:
    """A folder in whose `redis` one runs that has the model; the clients, in this process, have the last core alone."""
    mine = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.sched_setaffinity(0, {max(mine)})
        stack.callback(os.sched_setaffinity, 0, mine)
        with stack.enter_context(EmbeddedRedis(Path(folder) / "redis")).client() as client:
            publish(Publisher(client, "online"), rng)
        yield Path(folder)


def publish(publisher: Publisher, rng: np.random.Generator) -> None:
    encoder = Encoder(SPEC)
    items = [f"item {i}" for i in range(ITEMS)]
    features: list[Features] = [{name: _value(name, rng) for name in ITEM_FEATURES} for _ in items]
    ids, _ = encoder.encode_items(items, features)
    tables = {name: np.unique(jagged.values) for name, jagged in ids.items()}
    for name in REQUEST_FEATURES:
        many = [encoder.encode_request("", 0, {name: f"{name} {v}"})[0][name].values for v in range(VALUES)]
        tables[name] = np.concatenate(many)
    users = [encoder.encode_request(f"user {u}", 0, {})[0]["user"].values for u in range(USERS)]
    tables["user"] = np.concatenate(users)
    nothing = np.empty(0, np.uint64)
    rows = {
        name: TableDelta(ids_U, rng.normal(0, 0.1, (len(ids_U), DIM)).astype(np.float32), nothing)
        for name, ids_U in tables.items()
    }
    publisher.publish(Delta(1, True, rows))
    publisher.publish_entities({}, dict(zip(items, features, strict=True)))
    ranker = model()
    graph = Exporter(ranker, SPEC).graph(ranker)
    dims = {field.table: DIM for field in SPEC.sparse}
    publisher.publish_artefact(
        Artefact("step-1", 1, 0, dims, {RANKER: graph}, SPEC, RunningMoments(SPEC.numeric).scaling())
    )


def model() -> RankingModel:
    config = AutoInt.Config(layers=3, heads=2, units=64, mlp=(400, 400))
    return build(config, n_sparse=len(SPEC.sparse), n_numeric=0, dim=DIM)


def _value(name: str, rng: np.random.Generator) -> str:
    return f"{name} {rng.integers(VALUES)}"


def bodies(rng: np.random.Generator, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield msgspec.json.encode(
            {
                "user": f"user {rng.integers(USERS)}",
                "items": [f"item {i}" for i in rng.choice(ITEMS, CANDIDATES, replace=False)],
                "features": {name: _value(name, rng) for name in REQUEST_FEATURES},
            }
        )


@contextmanager
def server(
    cores: int | Sequence[int], redis_folder: Path, log_folder: Path, *more: str
) -> Iterator[tuple[psutil.Process, int]]:
    """Its process and its port; on several cores one process each, which the first one has started."""
    each = ",".join(map(str, [cores] if isinstance(cores, int) else cores))
    command = [sys.executable, "-m", "benchmarks._server", each, str(redis_folder), str(log_folder), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield psutil.Process(process.pid), int(process.stdout.readline().strip().rpartition(":")[2])
        finally:
            process.terminate()


def cpu_of(server: psutil.Process) -> float:
    """Seconds of CPU that it has taken so far, and all that it started with it."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def wait_until_ready(connection: http.client.HTTPConnection) -> None:
    until(lambda: get(connection, "/readyz")[0] == 200, "a server that is ready", 60.0)


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()
