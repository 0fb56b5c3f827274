"""From events to training batches: the log, what is ingested into it, the join and the feed."""

from __future__ import annotations

from functools import partial
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any

from recsys.config.schema import Config
from recsys.config.sections.learning.tasks import CLICK
from recsys.errors import file_errors
from streaming.encode.feature_spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from streaming.feed import Feed
    from streaming.ingest.codec import Rules
    from streaming.ingest.formats.sources import Source
    from streaming.ingest.pipeline import Ingest
    from streaming.join.joiner import Joiner, Labels
    from streaming.join.tables.layout import Zeros
    from streaming.join.tasks_joiner import Task, TasksJoiner
    from streaming.kept.batch_format import BatchOrigin
    from streaming.kept.kept_batches import KeptBatches
    from streaming.log.event_log import EventLog
    from streaming.observers import Observer

PENDING_FOLDER = "training.pending_folder"


def spec(config: Config) -> FeatureSpec:
    """The fields of the model."""
    return FeatureSpec.of([field.to_field() for field in config.features.fields])


def event_log(config: Config) -> EventLog:
    from streaming.ingest.foreign_values import decode_values
    from streaming.log.open_log import of_project, open_log

    log = config.log
    return open_log(
        of_project(log.url, config.project.own_name),
        log.partitions,
        partial(decode_values, rules=rules(config)),
        log.keep,
    )


def inspected_log(config: Config) -> str:
    """A sentence on a log on a server, which is not made; "" for one of this machine.

    Raises RecsysError for what keeps the log from being used, or from being ingested into.
    """
    from streaming.ingest.source_offsets import SourceOffsets
    from streaming.log.open_log import inspect_log, of_project

    sentence, identity = inspect_log(of_project(config.log.url, config.project.own_name), config.log.partitions)
    SourceOffsets(config.log.source_offsets, identity)
    return sentence


def rules(config: Config) -> Rules:
    """Which events are accepted."""
    from streaming.ingest.codec import Rules

    keep = config.log.unknown_features == "keep"
    times = filter(None, config.serving.available_times)
    return Rules.of(spec(config), config.log.max_future, config.log.max_line, keep_unknown=keep, times=times)


def sources(config: Config, file: Path, name: str = "", *, sort: bool = False) -> list[Source]:
    """What a file is read as: by each of its mappings, or as JSON lines of events; `sort` is for `Ingest.sort`.

    It is remembered, and shown, by its path or else its `name`. Raises RecsysError if it cannot be read.
    """
    return _opener(config, sort)(file, name)


def file_sources(config: Config, files: Sequence[Path], *, sort: bool = False) -> Iterator[Source]:
    """As `sources`, of files that a user names: none for an empty one. Raises InvalidValueError for a folder.

    Of several files, one that cannot be opened raises when it is read, so that the others are read all the same.
    """
    from recsys.errors import InvalidValueError, file_errors
    from streaming.ingest.formats.open_source import check_name

    opened = _opener(config, sort)
    if len(files) > 1:
        opened = partial(_or_unreadable, opened)
    for file in files:
        check_name(file)
        with file_errors("cannot read", file):
            if not file.exists():
                raise InvalidValueError(f"{file} does not exist")
            status = file.stat()
            if S_ISDIR(status.st_mode):
                raise InvalidValueError(f"{file} is a folder; give the files in it")
            if not S_ISREG(status.st_mode) or status.st_size:  # not a part without rows, or the mark of a finished job
                yield from opened(file, "")


def _or_unreadable(opened: Callable[[Path, str], list[Source]], file: Path, name: str) -> list[Source]:
    """The sources of a file, or one that cannot be read; raises InvalidValueError for what the configuration says."""
    import pyarrow as pa

    from recsys.errors import IngestError, InvalidValueError
    from streaming.ingest.unreadable import UnreadableSource

    try:
        return opened(file, name)
    except (IngestError, InvalidValueError) as error:
        if isinstance(error.__cause__, OSError | pa.ArrowException):
            return [UnreadableSource(str(file), error.__cause__)]
        raise


def _opener(config: Config, sort: bool) -> Callable[[Path, str], list[Source]]:
    """`sources` for many files: what the configuration says is worked out once."""
    from streaming.ingest.formats.open_source import open_source

    known, log = rules(config), config.log
    kinds = {**(known.request or {}), **(known.item or {})}
    memory = log.sort_memory if sort else None
    rows = {id(one): one.rows(kinds) for one in log.mapping}
    patterns = [one.files for one in log.mapping]

    def opened(file: Path, name: str) -> list[Source]:
        found: list[Source] = []
        for n, one in enumerate(log.mappings(file)):
            source = f"{name or file} ({one.kind} {n + 1})" if n else name or str(file)
            found.append(open_source(file, rows[id(one)], log.max_line, one.format, one.text, source, memory))
        return found or [open_source(file, None, log.max_line, patterns=patterns)]

    return opened


def ingest(config: Config, log: EventLog) -> Ingest:
    """The writer of `log`, which remembers how far each source was read."""
    from streaming.ingest.pipeline import Ingest
    from streaming.ingest.refusals.dead_letters import DeadLetters
    from streaming.ingest.source_offsets import SourceOffsets

    return Ingest(
        log,
        DeadLetters(config.log.dead_letters),
        rules(config),
        config.log.deduplication_window,
        source_offsets=SourceOffsets(config.log.source_offsets, log.identity),
        slack=max(task.wait for task in tasks(config)) + config.training.lateness,
    )


def tasks(config: Config) -> list[Task]:
    """What the model learns: clicks, and the further tasks."""
    from streaming.join.labeled_impression import LabelRule
    from streaming.join.tasks_joiner import Task

    training = config.training
    first = Task(CLICK, LabelRule(frozenset(training.positive), training.min_value), training.wait)
    further = (Task(t.name, LabelRule(frozenset(t.actions), t.min_value), t.wait) for t in config.tasks)
    return [first, *further]


def joiner(config: Config, labels: Labels | None = None) -> Joiner | TasksJoiner:
    """Gives labels of all tasks out as configured, or else as `labels` says."""
    from streaming.join.joiner import Joiner
    from streaming.join.tasks_joiner import TasksJoiner

    training, zeros = config.training, _waiting_memory(config)

    def of(task: Task, number: int) -> Joiner:
        return Joiner(
            task.rule,
            wait=task.wait,
            lateness=training.lateness,
            max_pending=training.max_pending,
            labels=labels or training.labels,
            task=number,
            zeros=zeros,
        )

    every = tasks(config)
    return TasksJoiner(every, of) if len(every) > 1 else of(every[0], 0)


def _waiting_memory(config: Config) -> Zeros:
    """Where impressions wait for interactions: in memory, or in files of `training.pending_folder`."""
    import numpy as np

    from embedding.mapped_arrays import mapped_zeros

    folder = config.training.pending_folder
    if folder is None:
        return np.zeros
    with file_errors(PENDING_FOLDER, folder):
        folder.mkdir(parents=True, exist_ok=True)
    return partial(mapped_zeros, folder, what=PENDING_FOLDER)


def kept_batches(config: Config) -> KeptBatches | None:
    """Where what is learned from is kept, if that is configured."""
    from streaming.kept.kept_batches import KeptBatches

    folder = config.training.batches_folder
    return None if folder is None else KeptBatches(folder, batch_origin(config), config.training.keep_batches)


def batch_origin(config: Config) -> BatchOrigin:
    """What batches are made by: whatever of the configuration they depend on."""
    from streaming.kept.batch_format import BatchOrigin

    of_features, of_training = {"entities", "counted"}, {"positive", "min_value", "labels", "wait", "lateness"}
    used: Any = {"features": of_features, "training": of_training | {"max_pending", "batch_size"}, "tasks": True}
    settings = config.model_dump(mode="json", include=used)
    by_name = {
        f"{section}.{name}": value for section in ("features", "training") for name, value in settings[section].items()
    }
    return BatchOrigin(spec(config).to_json().decode(), by_name | {"tasks": settings["tasks"]})


def feed(config: Config, log: EventLog, observer: Observer | None = None, labels: Labels | None = None) -> Feed:
    """The configured feed; `labels` overrides when they are given out, as an evaluation needs them."""
    from streaming.encode.encoder import Encoder
    from streaming.encode.entity_state import EntityState
    from streaming.feed import Feed
    from streaming.windows.streamed_features import StreamedFeatures

    join, fields = joiner(config, labels), spec(config)
    return Feed(
        log,
        join,
        EntityState(config.features.entities),
        Encoder(fields),
        config.training.batch_size,
        observer=observer,
        streamed=StreamedFeatures(
            fields.streamed, config.features.counted, join.wait + join.lateness, config.training.max_pending
        ),
    )
