"""The trainer: what learns, its log and checkpoints, and what it publishes."""

from __future__ import annotations

import secrets
import socket
import time
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.config.schema import Config
from recsys.wiring.learning import exporter, learner, tensorboard
from recsys.wiring.publishing import publisher
from recsys.wiring.stream import event_log, feed, kept_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recsys.training.checkpoint.checkpoint_copies import CheckpointCopies
    from recsys.training.learner import Learner
    from recsys.training.publishing.publication import Publication
    from recsys.training.retrieval.vector_publication import VectorPublication
    from recsys.training.trainer import Trainer
    from streaming.catalog import Catalog
    from streaming.co_visits import CoVisits
    from streaming.feed import Feed
    from streaming.item_sets import ItemSets


@contextmanager
def trainer(
    config: Config,
    *,
    publish: bool,
    crash: Callable[[str], None] = lambda _point: None,
    learns: Learner | None = None,
) -> Iterator[Trainer]:
    """The trainer, with its log and Redis open; `crash` is called at every point at which a test may kill it.

    `learns` is what it trains, by default a new learner as configured.

    Raises CheckpointError if another process trains into the same checkpoints, LeaseError if another trainer publishes
    to the same Redis.
    """
    with training_lock(config), locked_trainer(config, publish=publish, crash=crash, learns=learns) as made:
        yield made


def training_lock(config: Config) -> AbstractContextManager[None]:
    """Keeps all others from training into the same checkpoints. Raises CheckpointError if another has it."""
    from recsys.training.checkpoint.lock import exclusive

    remedy = "stop that trainer, or give this one a folder ([training] checkpoints) and a Redis ([redis]) of its own"
    return exclusive(config.training.checkpoints, remedy)


@contextmanager
def locked_trainer(
    config: Config,
    *,
    publish: bool,
    crash: Callable[[str], None] = lambda _point: None,
    learns: Learner | None = None,
) -> Iterator[Trainer]:
    """As `trainer`, for who holds the `training_lock`."""
    from recsys.training.checkpoint.checkpoints import Checkpoints
    from recsys.training.progress import Progress
    from recsys.training.trainer import Trainer
    from streaming.catalog import Catalog
    from streaming.observers import Observers

    training = config.training
    with ExitStack() as stack:
        log = event_log(config)
        stack.callback(log.close)
        catalog = Catalog(config.catalog.half_life, min_propensity=config.catalog.min_propensity)
        visits = co_visits(config, catalog)
        sets = item_sets(config, catalog)
        source = feed(config, log, Observers(*(one for one in (catalog, visits, sets) if one is not None)))
        learns = learns or learner(config)
        board = stack.enter_context(tensorboard(config, training.publish_as))
        watched: dict[str, Any] = {} if board is None else {"after_step": board.follow}
        published = publish and stack.enter_context(_publication(config, learns, source, catalog, visits, sets))
        copies = _copies(config, stack)
        in_use = copies.holds if copies is not None else lambda _path: False
        yield Trainer(
            learns,
            source,
            log,
            catalog,
            Checkpoints(training.checkpoints, training.keep, crash, in_use=in_use),
            Progress(tasks=learns.tasks),
            visits=visits,
            publication=published or None,
            copies=copies,
            kept=kept_batches(config),
            checkpoint_every=training.checkpoint_every,
            increments=training.increments,
            crash=crash,
            **watched,
        )


def _copies(config: Config, stack: ExitStack) -> CheckpointCopies | None:
    """What copies checkpoints to `checkpoint_url`, until the `stack` is closed."""
    if not config.training.checkpoint_url:
        return None
    from recsys.training.checkpoint.checkpoint_copies import CheckpointCopies
    from recsys.training.checkpoint.remote_folder import RemoteFolder

    copies = CheckpointCopies(RemoteFolder(config.training.checkpoint_url), config.training.keep)
    stack.callback(copies.close)
    return copies


@contextmanager
def _publication(
    config: Config,
    learns: Learner,
    source: Feed,
    catalog: Catalog,
    visits: CoVisits | None,
    sets: ItemSets | None,
) -> Iterator[Publication]:
    from recsys.training.publishing.publication import Publication
    from serving.replication.publish.lease import Holder

    start_id = secrets.token_hex(6)
    holder = Holder.here(_place(config.training.checkpoints), start_id)
    with publisher(config, holder=holder) as (to_redis, revive):
        publication = Publication(
            learns,
            to_redis,
            exporter(config, learns.model),
            source.entities,
            catalog,
            rows_every=config.redis.publish_every / 1000,
            dense_every=config.training.export_every / 1000,
            revive=revive,
            start_id=start_id,
            vectors=_vectors(config, learns, source, catalog),
            streamed=source.streamed,
            visits=visits,
            item_sets=sets,
            take_over=config.training.take_over,
        )
        with _metrics(config, publication):
            yield publication


def co_visits(config: Config, catalog: Catalog) -> CoVisits | None:
    """Which items are clicked together, if that is configured; of those in the catalogue."""
    from streaming.co_visits import CoVisitBounds, CoVisits

    section = config.item_to_item
    if not section.enabled:
        return None
    bounds = CoVisitBounds(section.items, section.users, section.neighbours, section.clicks)
    return CoVisits(catalog, section.window, section.half_life, bounds)


def item_sets(config: Config, catalog: Catalog) -> ItemSets | None:
    """Which items belong together, if a feature says so; of those in the catalogue."""
    from streaming.item_sets import ItemSets

    section = config.item_sets
    return ItemSets(section.name, catalog, section.members) if section.feature else None


def _vectors(config: Config, learns: Learner, source: Feed, catalog: Catalog) -> VectorPublication | None:
    """What publishes item vectors: all of the catalogue in the time between two publications of dense weights."""
    from recsys.training.retrieval.vector_publication import VectorPublication

    if learns.beside.retrieval is None:
        return None
    share = min(config.redis.publish_every / max(config.training.export_every, 1), 1.0)
    return VectorPublication(learns, learns.beside.retrieval, source.encoder, source.entities, catalog, share)


@contextmanager
def _metrics(config: Config, publication: Publication) -> Iterator[None]:
    """The endpoint for Prometheus, if `metrics` names one."""
    if not config.training.metrics:
        yield
        return
    from serving.api.monitoring.trainer_metrics import TrainerEndpoint
    from serving.replication.trainer_status import TrainerStatus

    def latest() -> tuple[str, TrainerStatus, float] | None:
        status: Any = publication.status
        if not status:
            return None
        age = time.time() - status["written"] / 1000
        return config.training.publish_as, TrainerStatus(status["written"], status), age

    with closing(TrainerEndpoint(config.training.metrics, latest, config.project.name)):
        yield


def _place(folder: Path) -> str:
    """Names the folder of checkpoints, whose lock proves that a trainer that was there before has ended."""
    found = folder.stat()
    return f"{socket.gethostname()}:{folder.resolve()}:{found.st_dev}:{found.st_ino}"
