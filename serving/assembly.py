"""The application of a server: its parts, made from settings, which start and stop with it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp

from serving.api.app import create_app, package_version
from serving.api.batch_route import BatchRoute
from serving.api.clock_and_ids import ClockAndIds
from serving.api.erasure_route import ErasureRoute
from serving.api.gate.access import Access
from serving.api.gate.open_connections import ConnectionLimits, OpenConnections
from serving.api.gate.ranking_queue import RankingQueue
from serving.api.monitoring.all_processes import AllProcesses
from serving.api.monitoring.prometheus import Metrics
from serving.api.monitoring.request_spans import RequestSpans
from serving.api.monitoring.server_state import ServerState
from serving.api.rankings import Rankings
from serving.api.routes import Routes
from serving.console.console import Console
from serving.console.user_trial import UserTrial
from serving.erasure.erasures import Erasures
from serving.event_writer import EventWriter
from serving.experiments.counts.counters import ExperimentCounters
from serving.experiments.traffic import Traffic
from serving.limits import Limits
from serving.model.loaded_model import OpenScorer
from serving.process_settings import Settings
from serving.processes.siblings import Siblings
from serving.ranking_parts import candidates, ranker, shadow_scoring
from serving.replica import Replica
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis, connect
from serving.shadow import Shadow
from streaming.log.event_log import EventLog

_COUNT_TIMEOUT = 1.0
_ERASE_TIMEOUT = 5.0
_LOAD_TIMEOUT = 30.0
_Connect = Callable[[float], RedisClient]
_logger = logging.getLogger(__name__)


def build(
    settings: Settings,
    log: EventLog,
    open_scorer: OpenScorer,
    siblings: Siblings | None = None,
    *,
    loaded: bool = False,
) -> ASGIApp:
    """The application with all its parts, which start and stop with it. It does not close `log`.

    One of several processes knows its `siblings`. It, and one that is to be `loaded`, is asked for nothing before it
    has loaded what is published.
    """
    stack = ExitStack()
    parts = _parts(settings, log, open_scorer, stack)
    state = _state(parts)
    metrics = Metrics(state, settings.project)
    processes = AllProcesses(state, metrics, siblings)
    rankings = _rankings(parts)
    routes = _routes(parts, rankings, processes, metrics)
    erasures = Erasures(log, stack.enter_context(parts.connect(_ERASE_TIMEOUT)), settings.spec, settings.dead_letters)
    console = _console(parts, rankings, routes, state, processes, metrics, erasures)
    return create_app(
        routes,
        BatchRoute(routes, metrics, parts.access, parts.limits, parts.clocks),
        ErasureRoute(erasures.erase),
        metrics,
        parts.access,
        time.perf_counter,
        parts.connections,
        settings.cors_origins,
        partial(_load, parts.replica, settings) if loaded or siblings else parts.replica.start,
        stack.close,
        console.app(),
        partial(_beside, console, processes),
        _spans(settings, stack),
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the others are made of."""

    settings: Settings
    log: EventLog
    connect: _Connect
    replica: Replica
    counters: ExperimentCounters
    events: EventWriter
    queue: RankingQueue
    shadow: Shadow
    access: Access
    connections: OpenConnections
    clocks: ClockAndIds
    limits: Limits


def _parts(settings: Settings, log: EventLog, open_scorer: OpenScorer, stack: ExitStack) -> _Parts:
    """They are closed with `stack`, those first that use others."""
    revive: Callable[[], None] = lambda: None  # noqa: E731
    if not settings.redis_url:
        revive = stack.enter_context(EmbeddedRedis(settings.redis_folder)).ensure
    client: _Connect = partial(connect, settings.redis_url, settings.redis_folder, project=settings.project)
    counted = settings.experiments, settings.actions, settings.attribution, settings.max_attributed
    counters = ExperimentCounters(stack.enter_context(client(_COUNT_TIMEOUT)), *counted)
    replica = _replica(settings, client, open_scorer, counters.retain, revive)
    events = EventWriter(log, counters.count, window=settings.deduplication_window)
    executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="ranker"))
    stack.callback(events.close)
    stack.callback(replica.close)
    queue = RankingQueue(executor, settings.deadline / 1000 if settings.overload == "refuse" else None)
    shadow = shadow_scoring(settings, replica, events, lambda: not len(queue))
    stack.callback(shadow.close)
    return _Parts(
        settings,
        log,
        client,
        replica,
        counters,
        events,
        queue,
        shadow,
        Access(settings.api_keys, time.monotonic, settings.cors_origins),
        OpenConnections(_connection_limits(settings)),
        ClockAndIds(time.perf_counter, lambda: time.time_ns() // 1_000_000, lambda: uuid.uuid4().hex),
        Limits(settings.max_candidates, settings.retrieve, settings.max_body),
    )


def _replica(
    settings: Settings,
    client: _Connect,
    open_scorer: OpenScorer,
    refresh: Callable[[RedisClient], None],
    revive: Callable[[], None],
) -> Replica:
    return Replica(
        settings.models,
        client,
        open_scorer,
        cache_rows=settings.cache_rows,
        entity_ttl=settings.entity_ttl / 1000,
        beside=settings.shadow,
        refresh=refresh,
        revive=revive,
    )


def _connection_limits(settings: Settings) -> ConnectionLimits:
    """What a client may take before its request is whole."""
    seconds = settings.header_timeout / 1000, settings.body_timeout / 1000
    return ConnectionLimits(settings.max_connections, settings.max_header, *seconds)


def _state(parts: _Parts) -> ServerState:
    replica = parts.replica
    return ServerState(
        replica.models,
        parts.events,
        parts.queue,
        parts.access,
        parts.connections,
        lambda: replica.availability.up,
        lambda: replica.trainers.by_model,
        parts.shadow.counts,
        time.monotonic,
        parts.clocks.now,
    )


def _rankings(parts: _Parts) -> Rankings:
    settings = parts.settings
    return Rankings(
        ranker(settings, parts.replica, settings.deadline / 1000),
        candidates(settings, parts.replica),
        parts.queue,
        traffic=Traffic(settings.experiments, settings.holdout),
        rules=settings.rules,
        limits=parts.limits,
        source=parts.clocks,
    )


def _routes(parts: _Parts, rankings: Rankings, processes: AllProcesses, metrics: Metrics) -> Routes:
    settings = parts.settings
    return Routes(
        rankings,
        processes,
        parts.events,
        parts.counters,
        metrics,
        parts.queue,
        experiments=settings.experiments,
        rules=settings.rules,
        learned=settings.learned,
        limits=parts.limits,
        source=parts.clocks,
        shadow=parts.shadow,
        log_patience=settings.deadline / 1000 if settings.durable else 0.0,
    )


def _console(
    parts: _Parts,
    rankings: Rankings,
    routes: Routes,
    state: ServerState,
    processes: AllProcesses,
    metrics: Metrics,
    erasures: Erasures,
) -> Console:
    settings = parts.settings
    return Console(
        parts.replica,
        parts.log,
        state,
        processes,
        routes,
        UserTrial(rankings, routes, parts.queue, metrics, parts.clocks),
        parts.access,
        erasures.erase,
        version=package_version(),
        keys=bool(settings.api_keys),
        learned=settings.learned,
        dead_letters=settings.dead_letters,
        compare=any(len(one.arms) > 1 for one in settings.experiments),
    )


def _load(replica: Replica, settings: Settings) -> None:
    replica.start()
    if not replica.wait(_LOAD_TIMEOUT):
        _logger.warning("%s; serving with what there is", settings.unanswered(_LOAD_TIMEOUT))


@asynccontextmanager
async def _beside(console: Console, processes: AllProcesses) -> AsyncIterator[None]:
    """What runs while the application does."""
    async with console.sampler.running(), processes.showing():
        yield


def _spans(settings: Settings, stack: ExitStack) -> RequestSpans | None:
    """What sends spans of requests, until the stack is closed; None if nobody wants them."""
    if not settings.tracing:
        return None
    spans = RequestSpans(settings.project, package_version(), time.perf_counter)
    stack.callback(spans.close)
    return spans
