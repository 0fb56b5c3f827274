"""Applications over a real Redis and an in-memory log, in a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedding.store import Delta, TableDelta
from serving.assembly import build
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from serving.replication.publish.publisher import Publisher
from streaming.encode.encoder import Encoder
from tests.serving.api.asking import FailingLog, Start
from tests.serving.fakes import FEW_EVENTS, SPEC, Graphs, artefact, ids, rows
from tests.serving.running import running


@pytest.fixture
def log() -> FailingLog:
    return FailingLog()


@pytest.fixture
def settings(redis_folder: Path, client: RedisClient) -> Settings:
    return Settings(
        redis_folder=redis_folder, deadline=60_000, shadow_patience=120_000, deduplication_window=FEW_EVENTS
    )


@pytest.fixture
def start(settings: Settings, log: FailingLog) -> Iterator[Start]:
    """Starts the application; ends it with the test."""
    with ExitStack() as stack:

        def begin(**changes: Any) -> httpx.Client:
            return stack.enter_context(running(build(replace(settings, **changes), log, Graphs())))

        yield begin


@pytest.fixture
def publish(client: RedisClient) -> Callable[..., Publisher]:
    """Publishes a model whose score grows with the figure given for an item."""

    def do(scores: dict[str, float], model: str = "online", step: int = 1, **options: Any) -> Publisher:
        publisher = Publisher(client, model)
        spec = options.get("spec", SPEC)
        items, _ = Encoder(spec).encode_items(list(scores), [{}] * len(scores))
        change = TableDelta(items["item"].values, rows(*scores.values()), ids())
        sequence = (publisher.sequence() or 0) + 1
        publisher.publish(Delta(sequence, sequence == 1, {"item": change}))
        publisher.publish_artefact(artefact(step=step, **options))
        return publisher

    return do
