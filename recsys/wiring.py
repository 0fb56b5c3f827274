"""From the configuration to the parts of the running system: the one place that builds them.

What needs torch, or a server, is imported only when it is built.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from recsys.config.features import TableSection
from recsys.config.schema import Config
from streaming.encode.feature_spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from embedding.store import EmbeddingStore, Table
    from recsys.models import RankingModel
    from recsys.training.export import Exporter
    from recsys.training.learner import Learner
    from recsys.training.publication import Publication
    from recsys.training.trainer import Trainer
    from serving.model.loaded_model import OpenScorer
    from serving.replication.publisher import Publisher
    from serving.server import Settings
    from streaming.catalog import Catalog
    from streaming.feed import Feed
    from streaming.ingest.codec import Rules
    from streaming.ingest.pipeline import Ingest
    from streaming.ingest.sources import Source
    from streaming.join.joiner import Joiner
    from streaming.log.event_log import EventLog

ONLINE = "online"
"""The model that the trainer publishes."""


def spec(config: Config) -> FeatureSpec:
    """The fields of the model."""
    return FeatureSpec.of([field.to_field() for field in config.features.fields])


def event_log(config: Config) -> EventLog:
    from streaming.log.open_log import open_log

    return open_log(config.log.url, config.log.partitions)


def joiner(config: Config) -> Joiner:
    from streaming.join.joiner import Joiner, LabelRule

    training = config.training
    rule = LabelRule(frozenset(training.positive), training.min_value)
    return Joiner(rule, wait=training.wait, lateness=training.lateness, max_pending=training.max_pending)


def feed(config: Config, log: EventLog, catalog: Catalog | None = None) -> Feed:
    from streaming.encode.encoder import Encoder
    from streaming.encode.entity_state import EntityState
    from streaming.feed import Feed

    return Feed(
        log,
        joiner(config),
        EntityState(config.features.entities),
        Encoder(spec(config)),
        config.training.batch_size,
        observer=catalog,
    )


def tables(config: Config) -> list[Table]:
    """The embedding tables that the fields read, in a fixed order."""
    names = dict.fromkeys(field.table for field in spec(config).sparse)
    return [_table(name, config, config.features.tables.get(name, config.features.defaults)) for name in names]


def _table(name: str, config: Config, section: TableSection) -> Table:
    from embedding.store import Admission, Optimizer, Table

    return Table(
        name,
        config.features.dim,
        capacity=section.capacity,
        optimizer=Optimizer(config.training.optimizer, lr=config.training.sparse_lr),
        admission=Admission(section.admission, section.threshold),
        ttl=section.ttl,
        init_scale=config.training.init_scale,
        fallback=section.fallback,
    )


def store(config: Config) -> EmbeddingStore:
    from embedding.local.store import LocalStore

    return LocalStore(tables(config), seed=config.training.seed)


def model(config: Config) -> RankingModel:
    from recsys.models import build

    fields = spec(config)
    sizes = {"n_sparse": len(fields.sparse), "n_numeric": len(fields.numeric)}
    return build(config.model, **sizes, dim=config.features.dim, seed=config.training.seed)


def set_threads(config: Config) -> None:
    """Set the number of PyTorch's threads in this process. A command that trains calls it once."""
    import torch

    torch.set_num_threads(config.training.threads)


def learner(config: Config, rows: EmbeddingStore | None = None) -> Learner:
    """A new learner, over the store `rows` or else over the configured one."""
    import torch

    from recsys.training.learner import Learner

    training = config.training
    rows = store(config) if rows is None else rows
    generator = torch.Generator().manual_seed(training.seed)
    return Learner(spec(config), model(config), rows, dense_lr=training.dense_lr, generator=generator)


def exporter(config: Config, model: RankingModel) -> Exporter:
    from recsys.training.export import Exporter

    return Exporter(model, spec(config), cache=config.training.checkpoints / "graphs")


@contextmanager
def trainer(config: Config, *, publish: bool, crash: Callable[[str], None] = lambda _point: None) -> Iterator[Trainer]:
    """The trainer, with its log and Redis open; `crash` is called at every point at which a test may kill it.

    Raises CheckpointError if another process trains into the same checkpoints.
    """
    from recsys.training.checkpoint import Checkpoints
    from recsys.training.lock import exclusive
    from recsys.training.progress import Progress
    from recsys.training.trainer import Trainer
    from streaming.catalog import Catalog

    training = config.training
    with ExitStack() as stack:
        remedy = "stop that trainer, or give this one a folder of its own in [training] checkpoints"
        stack.enter_context(exclusive(training.checkpoints, remedy))
        log = event_log(config)
        stack.callback(log.close)
        catalog = Catalog(half_life=config.catalog.half_life)
        source, learns = feed(config, log, catalog), learner(config)
        yield Trainer(
            learns,
            source,
            log,
            catalog,
            Checkpoints(training.checkpoints, training.keep, crash),
            Progress(),
            publication=stack.enter_context(_publication(config, learns, source, catalog)) if publish else None,
            checkpoint_every=training.checkpoint_every,
            crash=crash,
        )


@contextmanager
def _publication(config: Config, learns: Learner, source: Feed, catalog: Catalog) -> Iterator[Publication]:
    from recsys.training.publication import Publication

    with publisher(config) as (to_redis, revive):
        yield Publication(
            learns,
            to_redis,
            exporter(config, learns.model),
            source.entities,
            catalog,
            rows_every=config.redis.publish_every / 1000,
            dense_every=config.training.export_every / 1000,
            revive=revive,
        )


@contextmanager
def publisher(config: Config, model: str = ONLINE) -> Iterator[tuple[Publisher, Callable[[], None]]]:
    """A publisher of `model` to the configured Redis, or to an embedded one that is started for it.

    The function beside it restarts an embedded Redis that is gone.
    """
    from serving.replication.embedded_redis import EmbeddedRedis, connect
    from serving.replication.publisher import Publisher

    def revive() -> None:
        if embedded is not None:  # any other Redis is restarted by whoever runs it
            embedded.ensure()

    with ExitStack() as stack:
        embedded = stack.enter_context(EmbeddedRedis(config.redis.folder)) if not config.redis.url else None
        client = stack.enter_context(connect(config.redis.url, config.redis.folder))
        yield Publisher(client, model, precision=config.redis.precision), revive


def rules(config: Config) -> Rules:
    """Which events are accepted."""
    from streaming.ingest.codec import Rules

    keep = config.log.unknown_features == "keep"
    return Rules.of(spec(config), config.log.max_future, config.log.max_line, keep_unknown=keep)


def sources(config: Config, file: Path) -> list[Source]:
    """What a file is read as: by each of its mappings, or as JSON lines of events. Raises RecsysError if it cannot."""
    from streaming.ingest.column_mapping import Mapping
    from streaming.ingest.open_source import open_source

    known = rules(config)
    kinds = {**(known.request or {}), **(known.item or {})}
    found: list[Source] = []
    for n, one in enumerate(config.log.mappings(file)):
        mapping = Mapping(
            one.kind, one.columns, one.time_unit, one.separator, kinds, tuple(one.null_values), one.time_format
        )
        name = f"{file} ({one.kind} {n + 1})" if n else str(file)
        found.append(open_source(file, mapping, config.log.max_line, one.format, one.text, name))
    return found or [open_source(file, None, config.log.max_line)]


def ingest(config: Config, log: EventLog) -> Ingest:
    """The writer of `log`, which remembers how far each source was read."""
    from streaming.ingest.dead_letters import DeadLetters
    from streaming.ingest.pipeline import Ingest
    from streaming.ingest.source_offsets import SourceOffsets

    return Ingest(
        log,
        DeadLetters(config.log.dead_letters),
        rules(config),
        config.log.deduplication_window,
        source_offsets=SourceOffsets(config.log.source_offsets),
        slack=config.training.wait + config.training.lateness,
    )


def open_scorer(config: Config) -> OpenScorer:
    """How a server makes a scorer of a graph."""
    from serving.model.scorer import load_scorer

    return partial(load_scorer, engine=config.serving.engine, threads=config.serving.threads)


def server(config: Config) -> Settings:
    """The server's settings; without an experiment all users get the online model."""
    from serving.experiments.assignment import Arm, Experiment
    from serving.ranking.exploration import exploration
    from serving.server import Settings

    serving = config.serving
    experiments = tuple(experiment.to_experiment() for experiment in config.experiments)
    return Settings(
        host=serving.host,
        port=serving.port,
        redis_url=config.redis.url,
        redis_folder=config.redis.folder,
        experiments=experiments or (Experiment("default", (Arm(ONLINE, ONLINE),)),),
        actions=frozenset(config.training.positive),
        rules=rules(config),
        limits=serving.to_limits(),
        cache_rows=serving.cache_rows,
        recent_share=serving.recent_share,
        deadline=serving.deadline,
        attribution=serving.attribution,
        exploration=exploration(serving.exploration, serving.temperature),
    )
