"""What serving gets from training, and how often: rows often, dense weights seldom, entities and catalog along."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from recsys.training.export import Exporter, TracingError
from recsys.training.learner import Learner
from serving.model.artefact import Artefact
from serving.replication.publisher import OutOfStepError, Publisher, PublishError
from streaming.catalog import Catalog
from streaming.encode.entity_state import EntityState

logger = logging.getLogger(__name__)

CONSUMER = "redis"
CATALOG_SIZE = 1000
"""Popular and recent items that serving can retrieve."""


class Publication:
    """Publishes to Redis at most every `rows_every` (rows) and `dense_every` (dense weights) seconds.

    A Redis that is gone does not stop training: nothing is acknowledged, so the next publication carries it all.
    `revive` is called then, to start an embedded one again.
    """

    def __init__(
        self,
        learner: Learner,
        publisher: Publisher,
        exporter: Exporter,
        entities: EntityState,
        catalog: Catalog,
        *,
        rows_every: float,
        dense_every: float,
        revive: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._learner = learner
        self._publisher = publisher
        self._exporter = exporter
        self._entities = entities
        self._catalog = catalog
        self._rows_every = rows_every
        self._dense_every = dense_every
        self._revive = revive
        self._clock = clock
        self._rows_due = self._dense_due = -float("inf")

    def start(self) -> None:
        """Begin with everything: what Redis holds may be older or newer than the state that training resumed from."""
        self._learner.store.subscribe(CONSUMER)
        self._entities.change_all()

    def due(self) -> bool:
        return self._clock() >= self._rows_due

    def seconds_left(self) -> float:
        """Until rows may be published again."""
        return max(self._rows_due - self._clock(), 0.0)

    def publish(self, now: int, *, dense: bool = False) -> bool:
        """Publish what changed, as of event time `now`; False if Redis is gone.

        Dense weights go along when they are due and the graph is traced, or when `dense` asks to wait for that.
        """
        started = self._clock()
        self._rows_due = started + self._rows_every
        try:
            if dense or (started >= self._dense_due and self._exporter.ready):
                self._publish_dense(now)
                self._dense_due = started + self._dense_every
            self._publish_rows()
            self._publish_items()
        except OutOfStepError as error:
            logger.warning("publishing all rows again: %s", error)
            self.start()
            self._rows_due = self._dense_due = started  # the graph may be gone, too
            return False
        except (PublishError, TracingError) as error:
            logger.warning("nothing published, training goes on: %s", error)
            if isinstance(error, PublishError):
                self._try_to_revive()
            return False
        return True

    def _try_to_revive(self) -> None:
        try:
            self._revive()
        except OSError as error:
            logger.warning("Redis does not start again: %s", error)

    def _publish_rows(self) -> None:
        delta = self._learner.store.delta(CONSUMER)
        self._publisher.publish(delta)
        self._learner.store.acknowledge(CONSUMER, delta.sequence)

    def _publish_dense(self, now: int) -> None:
        graph = self._exporter.graph(self._learner.model)
        dim = self._exporter.dim
        step = self._learner.steps
        self._publisher.publish_artefact(
            Artefact(version=f"step-{step}", step=step, time=now, dim=dim, graph=graph, spec=self._learner.spec)
        )

    def _publish_items(self) -> None:
        users, items = self._entities.drain_changes()
        try:
            self._publisher.publish_entities(users, items)
        except PublishError:
            self._entities.restore_changes(users, items)
            raise
        self._publisher.publish_catalog(self._catalog.popular(CATALOG_SIZE), self._catalog.recent(CATALOG_SIZE))
