"""From events to training batches: the log, what is ingested into it, the join and the feed."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

from recsys.config.schema import Config
from streaming.encode.feature_spec import FeatureSpec

if TYPE_CHECKING:
    from streaming.catalog import Catalog
    from streaming.feed import Feed
    from streaming.ingest.codec import Rules
    from streaming.ingest.column_mapping import Mapping
    from streaming.ingest.pipeline import Ingest
    from streaming.join.joiner import Joiner
    from streaming.log.event_log import EventLog


def spec(config: Config) -> FeatureSpec:
    """The fields of the model."""
    return FeatureSpec.of([field.to_field() for field in config.features.fields])


def event_log(config: Config) -> EventLog:
    from streaming.log.open_log import open_log

    return open_log(config.log.url, config.log.partitions)


def rules(config: Config) -> Rules:
    """Which events are accepted."""
    from streaming.ingest.codec import Rules

    keep = config.log.unknown_features == "keep"
    return Rules.of(spec(config), config.log.max_future, config.log.max_line, keep_unknown=keep)


def mapping(config: Config, file: str) -> Mapping | None:
    """How the columns of the file become events; None if no mapping is for its name."""
    from streaming.ingest.column_mapping import Mapping

    found = next((m for m in config.log.mapping if fnmatch(file, m.files)), None)
    if found is None:
        return None
    known = rules(config)
    kinds = {**(known.request or {}), **(known.item or {})}
    return Mapping(found.kind, found.columns, found.time_unit, found.separator, kinds)


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
