"""A server process: builds its parts from settings, the application from its parts, and shuts down cleanly."""

from __future__ import annotations

import errno
import gc
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis
import uvicorn
from starlette.types import ASGIApp

from recsys.errors import InvalidValueError
from serving.api.app import create_app
from serving.api.prometheus import Metrics
from serving.api.routes import Routes, Source
from serving.api.server_state import ServerState
from serving.cache.entity_cache import EntityFeatures
from serving.event_writer import EventWriter
from serving.experiments.assignment import POPULARITY, Arm, Experiment
from serving.experiments.counters import ExperimentCounters
from serving.limits import Limits
from serving.model.loaded_model import OpenScorer
from serving.ranking.exploration import Exploration, Ranked
from serving.ranking.popularity import CatalogSnapshot, PopularityScores
from serving.ranking.ranker import Ranker
from serving.ranking.retriever import CatalogRetriever, Retriever
from serving.replication.embedded_redis import EmbeddedRedis, connect
from serving.replication.health import Availability
from serving.replication.model_loader import LoaderModels, ModelLoader
from serving.replication.stream_follower import Sink, StreamFollower
from serving.replication.trainer_status import TrainerStatuses
from streaming.ingest.codec import Rules
from streaming.log.event_log import EventLog

_REQUEST_TIMEOUT = 0.1
"""Longest time (s) that one Redis command may hold up a request."""
_FOLLOW_TIMEOUT = 5.0
_COUNT_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that configures a server. Times are in milliseconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    redis_url: str = ""
    """Empty: an embedded Redis in `redis_folder`."""
    redis_folder: Path = Path("run/redis")
    experiments: tuple[Experiment, ...] = (Experiment("default", (Arm("online"),)),)
    actions: frozenset[str] = frozenset({"click"})
    """Actions that count as a click in experiments."""
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    cache_rows: int = 1_000_000
    """Rows kept in this process, for each model."""
    recent_share: float = 0.2
    deadline: int = 200
    exploration: Exploration = field(default_factory=Ranked)
    attribution: int = 6 * 3_600_000
    """How long after an impression a click counts in experiments."""
    max_attributed: int = 1_000_000
    """Most impressions of experiments that still can be clicked."""
    seed: int | None = None
    deduplication_window: int = 1_000_000
    """Events at the end of the log among which duplicates are looked for."""
    entity_ttl: int = 60_000
    """How long the latest features of a user or item are used without a notice of change."""


def build(settings: Settings, log: EventLog, open_scorer: OpenScorer) -> ASGIApp:
    """The application with all its parts, which start and stop with it. It does not close `log`."""
    stack = ExitStack()
    client = partial(connect, settings.redis_url, settings.redis_folder)
    revive: Callable[[], None] = lambda: None  # noqa: E731
    if not settings.redis_url:
        revive = stack.enter_context(EmbeddedRedis(settings.redis_folder)).ensure
    fast = stack.enter_context(client(_REQUEST_TIMEOUT))
    availability = Availability(up=False)
    catalog = CatalogSnapshot()
    names = _models(settings.experiments)
    models = LoaderModels(
        [ModelLoader(name, fast, open_scorer, settings.cache_rows, availability, time.monotonic) for name in names]
    )
    trainers = TrainerStatuses(names)

    counters = ExperimentCounters(
        stack.enter_context(client(_COUNT_TIMEOUT)),
        settings.experiments,
        settings.actions,
        settings.attribution,
        settings.max_attributed,
    )

    def refresh(connected: redis.Redis) -> None:
        catalog.refresh(connected)
        trainers.refresh(connected)
        counters.retain(connected)

    entities = EntityFeatures(fast, settings.entity_ttl / 1000, 1_000_000, time.monotonic, availability)
    sinks: list[Sink] = [entities, *models.loaders.values()]
    follower = StreamFollower(partial(client, _FOLLOW_TIMEOUT), sinks, availability, refresh, revive)
    events = EventWriter(log, counters.count, window=settings.deduplication_window)
    executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="ranker"))
    stack.callback(events.close)
    stack.callback(follower.close)
    clocks = Source(time.perf_counter, lambda: time.time_ns() // 1_000_000, lambda: uuid.uuid4().hex)
    state = ServerState(models, events, lambda: availability.up, lambda: trainers.by_model, time.monotonic, clocks.now)
    metrics = Metrics(state)
    ranker = Ranker(
        models,
        entities,
        PopularityScores(catalog),
        settings.exploration,
        settings.deadline / 1000,
        settings.seed,
    )
    routes = Routes(
        ranker,
        candidates(settings, catalog),
        state,
        events,
        counters,
        metrics,
        executor,
        experiments=settings.experiments,
        rules=settings.rules,
        limits=settings.limits,
        source=clocks,
    )
    return create_app(routes, metrics, time.perf_counter, follower.start, stack.close)


def candidates(settings: Settings, catalog: CatalogSnapshot) -> Retriever:
    """Where `/v1/recommend` gets its candidates from."""
    return CatalogRetriever(catalog, settings.recent_share)


def run(
    settings: Settings, log: EventLog, open_scorer: OpenScorer, ready: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGINT or SIGTERM; then answer open requests, store waiting events, and return.

    `ready` is called with the URL once the port is bound. Raises InvalidValueError when the port is in use or the host
    is not an address of this machine.
    """
    with _listener(settings.host, settings.port) as listener:
        config = uvicorn.Config(
            build(settings, log, open_scorer),
            access_log=False,
            log_level="warning",
            lifespan="on",
            timeout_graceful_shutdown=5,
        )
        ready(f"http://{settings.host}:{listener.getsockname()[1]}")
        with _signals_end_here(), _rare_collection():
            uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    here = "give serving.host (or --host) a name or an IPv4 address of this machine, such as 127.0.0.1 or 0.0.0.0"
    try:
        address = socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        raise InvalidValueError(f"the host {host!r} cannot be resolved ({error}); {here}") from error
    try:
        return socket.create_server((address, port), backlog=2048)
    except OSError as error:
        remedy = here if error.errno == errno.EADDRNOTAVAIL else "choose another port"
        raise InvalidValueError(f"cannot listen on {host}:{port} ({error}); {remedy}") from error


@contextmanager
def _signals_end_here() -> Iterator[None]:
    """Discard the signals that uvicorn raises again after shutting down: their previous handlers would end the process
    before the caller can close what it opened."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Collect cyclic garbage rarely: requests create almost none, and each pass walks all cached features."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _models(experiments: tuple[Experiment, ...]) -> list[str]:
    return sorted({arm.model for experiment in experiments for arm in experiment.arms} - {POPULARITY})
