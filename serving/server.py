"""A server process: builds its parts from settings, the application from its parts, and shuts down cleanly."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from serving.api.app import create_app, package_version
from serving.api.batch_route import BatchRoute
from serving.api.clock_and_ids import ClockAndIds
from serving.api.erasure_route import ErasureRoute
from serving.api.gate.access import Access
from serving.api.gate.open_connections import ConnectionLimits, OpenConnections
from serving.api.gate.ranking_queue import RankingQueue
from serving.api.monitoring.prometheus import Metrics
from serving.api.monitoring.request_spans import RequestSpans
from serving.api.monitoring.server_state import ServerState
from serving.api.rankings import Rankings
from serving.api.routes import Routes
from serving.console.console import Console
from serving.console.user_trial import UserTrial
from serving.erasure.erasures import Erasures
from serving.event_writer import EventWriter
from serving.experiments.assignment import POPULARITY, Arm, Experiment
from serving.experiments.counts.counters import ExperimentCounters
from serving.experiments.traffic import Holdout, Traffic
from serving.http_server import http_server, listening, serve, tls_of
from serving.limits import Limits
from serving.model.loaded_model import OpenScorer
from serving.processes.siblings import Siblings
from serving.ranking_parts import ranker, shadow_scoring
from serving.replica import Replica
from serving.replication.embedded_redis import EmbeddedRedis, connect
from serving.replication.keys import PROJECT
from serving.retrieval.attribute_filter import AttributeFilter
from serving.retrieval.basket_items import BasketItems
from serving.retrieval.catalog_sources import PopularItems, RecentItems
from serving.retrieval.merged import MergedRetriever
from serving.retrieval.retriever import Retriever
from serving.retrieval.two_tower_items import TwoTowerItems
from serving.retrieval.visit_sources import HistoryItems, ItemToItem
from serving.settings import Duration, ServingSettings
from streaming.encode.feature_spec import FeatureSpec
from streaming.ingest.codec import Rules
from streaming.log.event_log import EventLog

_COUNT_TIMEOUT = 1.0
_ERASE_TIMEOUT = 5.0
_LOAD_TIMEOUT = 30.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ServingSettings):
    """Everything that configures a server."""

    redis_url: str = ""
    """Empty: an embedded Redis in `redis_folder`."""
    redis_folder: Path = Path("run/redis")
    project: str = PROJECT
    """Whose keys in Redis these are."""
    experiments: tuple[Experiment, ...] = (Experiment("default", (Arm("online"),)),)
    holdout: Holdout = field(default_factory=Holdout)
    actions: frozenset[str] = frozenset({"click"})
    """Actions that count as a click in experiments."""
    learned: frozenset[str] = frozenset({"click"})
    """Actions that decide a label of some task; an answer names others."""
    rules: Rules = field(default_factory=Rules)
    spec: FeatureSpec | None = None
    """The fields of the model, which say what embedding rows are users'; without it none are."""
    item_sets: str = ""
    """The feature of items that names the sets that they are in; empty: there are none."""
    dead_letters: Path = Path("run/dead_letters.jsonl")
    """Refused records of the log."""
    seed: int | None = None
    deduplication_window: int = 1_000_000
    """Events at the end of the log among which duplicates are looked for."""
    entity_ttl: Duration = 60_000
    """How long the latest features of a user or item are used without a notice of change."""
    shadow_patience: Duration = 250
    """How long an answer may wait to be scored in the shadow: a click on it may be learned afterwards."""


def build(settings: Settings, log: EventLog, open_scorer: OpenScorer, siblings: Siblings | None = None) -> ASGIApp:
    """The application with all its parts, which start and stop with it. It does not close `log`.

    One of several processes knows its `siblings`, and is asked for nothing before it has loaded what is published.
    """
    stack = ExitStack()
    client = partial(connect, settings.redis_url, settings.redis_folder, project=settings.project)
    revive: Callable[[], None] = lambda: None  # noqa: E731
    if not settings.redis_url:
        revive = stack.enter_context(EmbeddedRedis(settings.redis_folder)).ensure
    counters = ExperimentCounters(
        stack.enter_context(client(_COUNT_TIMEOUT)),
        settings.experiments,
        settings.actions,
        settings.attribution,
        settings.max_attributed,
    )
    replica = Replica(
        model_names(settings.experiments),
        client,
        open_scorer,
        cache_rows=settings.cache_rows,
        entity_ttl=settings.entity_ttl / 1000,
        beside=settings.shadow,
        refresh=counters.retain,
        revive=revive,
    )
    events = EventWriter(log, counters.count, window=settings.deduplication_window)
    executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="ranker"))
    stack.callback(events.close)
    stack.callback(replica.close)
    clocks = ClockAndIds(time.perf_counter, lambda: time.time_ns() // 1_000_000, lambda: uuid.uuid4().hex)
    queue = RankingQueue(executor, settings.deadline / 1000 if settings.overload == "refuse" else None)
    shadow = shadow_scoring(settings, replica, events, lambda: not len(queue))
    stack.callback(shadow.close)
    access = Access(settings.api_keys, time.monotonic, settings.cors_origins)
    connections = OpenConnections(connection_limits(settings))
    state = ServerState(
        replica.models,
        events,
        queue,
        access,
        connections,
        lambda: replica.availability.up,
        lambda: replica.trainers.by_model,
        shadow.counts,
        time.monotonic,
        clocks.now,
    )
    metrics = Metrics(state, settings.project)
    limits = Limits(settings.max_candidates, settings.retrieve, settings.max_body)
    rankings = Rankings(
        ranker(settings, replica, settings.deadline / 1000),
        candidates(settings, replica),
        queue,
        traffic=Traffic(settings.experiments, settings.holdout),
        rules=settings.rules,
        limits=limits,
        source=clocks,
    )
    routes = Routes(
        rankings,
        state,
        events,
        counters,
        metrics,
        queue,
        experiments=settings.experiments,
        rules=settings.rules,
        learned=settings.learned,
        limits=limits,
        source=clocks,
        shadow=shadow,
        log_patience=settings.deadline / 1000 if settings.durable else 0.0,
        siblings=siblings,
    )
    erasures = Erasures(log, stack.enter_context(client(_ERASE_TIMEOUT)), settings.spec, settings.dead_letters)
    console = Console(
        replica,
        log,
        state,
        metrics,
        routes,
        UserTrial(rankings, routes, queue, metrics, clocks),
        access,
        erasures.erase,
        version=package_version(),
        keys=bool(settings.api_keys),
        learned=settings.learned,
        dead_letters=settings.dead_letters,
        compare=any(len(one.arms) > 1 for one in settings.experiments),
    )
    return create_app(
        routes,
        BatchRoute(routes, metrics, access, limits, clocks),
        ErasureRoute(erasures.erase),
        metrics,
        access,
        time.perf_counter,
        connections,
        settings.cors_origins,
        replica.start if siblings is None else partial(_load, replica),
        stack.close,
        console.app(),
        partial(_beside, console, metrics, siblings),
        request_spans(settings, stack),
    )


def _load(replica: Replica) -> None:
    replica.start()
    if not replica.wait(_LOAD_TIMEOUT):
        _logger.warning("Redis has not answered for %.0f s: serving with what there is", _LOAD_TIMEOUT)


@asynccontextmanager
async def _beside(console: Console, metrics: Metrics, siblings: Siblings | None) -> AsyncIterator[None]:
    """What runs while the application does."""
    async with console.sampler.running(), nullcontext() if siblings is None else siblings.showing(metrics.render):
        yield


def request_spans(settings: Settings, stack: ExitStack) -> RequestSpans | None:
    """What sends spans of requests, until the stack is closed; None if nobody wants them."""
    if not settings.tracing:
        return None
    spans = RequestSpans(settings.project, package_version(), time.perf_counter)
    stack.callback(spans.close)
    return spans


def connection_limits(settings: Settings) -> ConnectionLimits:
    """What a client may take before its request is whole."""
    return ConnectionLimits(
        settings.max_connections,
        settings.max_header,
        settings.header_timeout / 1000,
        settings.body_timeout / 1000,
    )


def candidates(settings: Settings, replica: Replica) -> Retriever:
    """Where `/v1/recommend` gets its candidates from."""
    sources: dict[str, Retriever] = {
        "two_tower": TwoTowerItems(replica.models, replica.entities),
        "popular": PopularItems(replica.catalog),
        "recent": RecentItems(replica.catalog),
        "item_to_item": ItemToItem(replica.visited),
        "history": HistoryItems(replica.visited),
        "basket": BasketItems(settings.item_sets, replica.entities, replica.item_sets),
    }
    return AttributeFilter(MergedRetriever(sources, settings.shares), replica.entities)


def run(
    settings: Settings, log: EventLog, open_scorer: OpenScorer, ready: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGINT or SIGTERM; then answer open requests, store waiting events, and return.

    `ready` is called with the URL once the port is bound. Raises InvalidValueError when the port is in use, the host is
    not an address of this machine, or the certificate cannot be used.
    """
    tls = tls_of(settings.certificate, settings.private_key)
    with listening(settings.host, settings.port) as listener:
        config = http_server(build(settings, log, open_scorer), tls)
        ready(url_of(settings, listener.getsockname()[1]))
        serve(config, listener)


def run_as(
    siblings: Siblings, settings: Settings, log: EventLog, open_scorer: OpenScorer, ready: Callable[[], None]
) -> None:
    """As `run`, in one of several processes, with its share of what the settings allow."""
    tls = tls_of(settings.certificate, settings.private_key)
    settings = settings.shared(siblings.count)
    with siblings.listener(settings.host, settings.port) as listener:
        serve(http_server(build(settings, log, open_scorer, siblings), tls), listener, ready)


def url_of(settings: Settings, port: int) -> str:
    """Where clients reach the server."""
    return f"{'https' if settings.certificate else 'http'}://{settings.host}:{port}"


def model_names(experiments: tuple[Experiment, ...]) -> list[str]:
    """The published models that the arms rank with."""
    return sorted({arm.model for experiment in experiments for arm in experiment.arms} - {POPULARITY})
