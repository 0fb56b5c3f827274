"""From the configuration to the parts it names. The one place that knows both."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from recsys.config.schema import Config, TableSection
from streaming.encode.feature_spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from embedding.store import EmbeddingStore, Table
    from recsys.models import RankingModel
    from recsys.training.export import Exporter
    from recsys.training.learner import Learner
    from serving.replication.publisher import Publisher
    from serving.server import Settings
    from streaming.catalog import Catalog
    from streaming.feed import Feed
    from streaming.ingest.codec import Rules
    from streaming.ingest.column_mapping import Mapping
    from streaming.join.joiner import Joiner
    from streaming.log.event_log import EventLog

ONLINE = "online"
"""The model that the trainer publishes."""


def spec(config: Config) -> FeatureSpec:
    """What the model reads."""
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
    from recsys.models import REGISTRY, build

    options = config.model.model_dump(exclude={"name"}) | {"mlp": tuple(config.model.mlp)}
    known = REGISTRY[config.model.name].Config
    chosen = known(**{name: value for name, value in options.items() if name in known.__dataclass_fields__})
    fields = spec(config)
    sizes = {"n_sparse": len(fields.sparse), "n_numeric": len(fields.numeric)}
    return build(config.model.name, chosen, **sizes, dim=config.features.dim, seed=config.training.seed)


def learner(config: Config, rows: EmbeddingStore | None = None) -> Learner:
    """A new learner, over the configured store if not over `rows`; sets the number of PyTorch's threads."""
    import torch

    from recsys.training.learner import Learner

    torch.set_num_threads(config.training.threads)
    training = config.training
    rows = store(config) if rows is None else rows
    return Learner(spec(config), model(config), rows, dense_lr=training.dense_lr, seed=training.seed)


def exporter(config: Config, model: RankingModel) -> Exporter:
    from recsys.training.export import Exporter

    return Exporter(model, spec(config), config.features.dim, cache=config.training.checkpoints / "graphs")


@contextmanager
def publisher(config: Config, model: str = ONLINE) -> Iterator[tuple[Publisher, Callable[[], None]]]:
    """Publishes `model` to the configured Redis, or to an embedded one that is started for it.

    Call what comes with it when Redis is gone: an embedded one starts again.
    """
    from serving.replication.embedded_redis import EmbeddedRedis, connect
    from serving.replication.publisher import Publisher

    def revive() -> None:
        if embedded is not None:  # else whoever runs it has to
            embedded.ensure()

    with ExitStack() as stack:
        embedded = stack.enter_context(EmbeddedRedis(config.rows.folder)) if not config.rows.url else None
        client = stack.enter_context(connect(config.rows.url, config.rows.folder))
        yield Publisher(client, model, precision=config.rows.precision), revive


def rules(config: Config) -> Rules:
    """What the edge accepts."""
    from streaming.ingest.codec import Rules

    keep = config.log.unknown_features == "keep"
    return Rules.of(spec(config), config.log.max_future, config.log.max_line, keep_unknown=keep)


def mapping(config: Config, file: str) -> Mapping | None:
    """How the columns of the file of this name become events."""
    from streaming.ingest.column_mapping import Mapping

    found = next((m for m in config.log.mapping if fnmatch(file, m.files)), None)
    if found is None:
        return None
    known = rules(config)
    kinds = {**(known.request or {}), **(known.item or {})}
    return Mapping(found.kind, found.columns, found.time_unit, found.separator, kinds)


def server(config: Config) -> Settings:
    """What the server is told; without an experiment everybody gets the online model."""
    from serving.api.routes import Limits
    from serving.experiments.assignment import Arm, Experiment
    from serving.server import Settings

    serving = config.serving
    experiments = tuple(
        Experiment(e.name, tuple(Arm(arm.name, arm.model, arm.weight) for arm in e.arms), e.salt)
        for e in config.experiments
    )
    return Settings(
        host=serving.host,
        port=serving.port,
        redis_url=config.rows.url,
        redis_folder=config.rows.folder,
        experiments=experiments or (Experiment("default", (Arm(ONLINE, ONLINE),)),),
        actions=frozenset(config.training.positive),
        rules=rules(config),
        limits=Limits(serving.max_candidates, serving.retrieve),
        cache_rows=serving.cache_rows,
        recent_share=serving.recent_share,
        deadline=serving.deadline,
        exploration=serving.exploration,
        temperature=serving.temperature,
    )
