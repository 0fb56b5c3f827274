"""Who is told that the server is ready finds it ready: in processes of their own, where nothing was called before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from embedding.kernels.id_table import search, table_segment
from embedding.store import Delta, TableDelta
from serving.cache.row_cache import RowCache
from serving.cache.row_store import MemoryRows
from serving.cache.warmup import warm_up
from serving.process_settings import Settings
from serving.replication import delta_messages
from serving.replication.connection.redis_client import RedisClient
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from streaming.encode.feature_spec import FeatureSpec, Field
from tests.serving.fakes import SPEC, artefact, delta, ids, rows
from tests.serving.waiting import until

ITEMS = [f"item {i}" for i in range(500)]


@pytest.mark.slow
def test_the_first_ranking_is_the_models(client: RedisClient, redis_folder: Path, tmp_path: Path) -> None:
    """The server's own deadline is what it is held to."""
    spec = FeatureSpec.of([*SPEC.fields, Field("genre", "multi", "item.genre"), Field("age", "numeric", "request.age")])
    published = Publisher(client, "online")
    found, _ = Encoder(spec).encode_items(ITEMS, [{}] * len(ITEMS))
    change = TableDelta(found["item"].values, rows(*[0.1] * len(ITEMS)), ids())
    published.publish(Delta(1, True, {"item": change}))
    published.publish_entities({}, {item: {"genre": ["a", "b"]} for item in ITEMS})
    published.publish_catalog([(item, 1.0) for item in ITEMS], [])
    published.publish_artefact(artefact(spec=spec))
    deadline = str(Settings().deadline)
    command = [sys.executable, "-m", "tests.faults.serve_process", str(redis_folder), str(tmp_path / "log"), deadline]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            with httpx.Client(base_url=process.stdout.readline().strip(), timeout=120) as http:
                until(lambda: http.get("/readyz").status_code == 200, seconds=120)
                answer = http.post("/v1/recommend", json={"user": "u", "count": 10}).json()
        finally:
            process.terminate()
    assert answer["degraded"] == []
    assert answer["model"] == "online@step-1"
    assert len(answer["items"]) == 10


def test_a_redis_that_does_not_answer_is_named() -> None:
    assert "Redis at redis://127.0.0.1:7/1 has not answered for 30 s: see that it runs" in Settings(
        redis_url="redis://127.0.0.1:7/1"
    ).unanswered(30)
    assert "Redis at folder run/redis has not" in Settings().unanswered(30)


@pytest.mark.slow
def test_a_warm_process_compiles_nothing_more() -> None:
    code = "from tests.serving.test_readiness import compiled_late; print(compiled_late())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def compiled_late() -> list[str]:
    """Functions that a cache in use compiles or loads after the warm-up."""
    warm_up()
    before = _signatures()
    assert before, "the warm-up compiled something"
    cache = RowCache(MemoryRows({"item": 4, "user": 4}), 8192)
    for start in (*range(0, 16_000, 1000), 12_000, 8_000):
        cache.read({"item": np.arange(start, start + 1000, dtype=np.uint64), "user": ids(start, start)})
    for message in delta_messages.messages(delta(1, {7: 1.0, 15_000: 2.0}, removed=ids(15_001)), previous=0):
        received = delta_messages.decode(delta_messages.encode(message))
        if isinstance(received, delta_messages.Change):
            cache.apply(received.table, received.arrays())
    return sorted(_signatures() - before)


def _signatures() -> set[str]:
    functions = {
        name: f for module in (search, table_segment) for name, f in vars(module).items() if isinstance(f, Dispatcher)
    }
    return {f"{name}{signature}" for name, f in functions.items() for signature in f.signatures}
