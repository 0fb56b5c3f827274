"""What the trainer publishes to serving: embedding rows, dense weights, features, catalogue and status."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from recsys.errors import ExportError, FileError, OutOfStepError, PublishError
from recsys.training.export.exporter import Exporter
from recsys.training.learner import Learner
from recsys.training.progress import Progress
from recsys.training.publishing.shared_publication import SharedPublication
from recsys.training.publishing.takeover_rule import Candidacy, Mode, TakeoverRule
from recsys.training.publishing.trainer_report import figures_of, trainer_report
from recsys.training.retrieval.tower_fields import ITEM_TABLE
from recsys.training.retrieval.tower_graph import tower_graph
from recsys.training.retrieval.vector_publication import VectorPublication
from serving.model.artefact import RANKER, USER_TOWER, Artefact
from serving.replication.publish.publisher import Publisher
from streaming.catalog import Catalog
from streaming.co_visits import CoVisits
from streaming.encode.entity_state import EntityState
from streaming.item_sets import ItemSets
from streaming.windows.streamed_features import StreamedFeatures

logger = logging.getLogger(__name__)

CONSUMER = "redis"
_T = TypeVar("_T")


class Publication:
    """Publishes to Redis at most every `rows_every` (embedding rows) and `dense_every` (dense weights) seconds.

    Training goes on without Redis: nothing is acknowledged, so the next publication contains all changes. `revive` is
    called then, to restart an embedded Redis.

    While servers follow another run of the model, this one writes only its status, and what all models share once it
    `has_caught_up`, until it may take over by `take_over` (see `takeover_rule`). Then rows and graph are written beside
    the other run, and servers swap to them at once. If somebody goes back from it, it goes on beside the other one.

    `start_id` is a part of every version's label (random unless given) beside the run, so that two models never share
    a label, not even after a restart from a checkpoint.
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
        wall_clock: Callable[[], float] = time.time,
        start_id: str | None = None,
        vectors: VectorPublication | None = None,
        streamed: StreamedFeatures | None = None,
        visits: CoVisits | None = None,
        item_sets: ItemSets | None = None,
        take_over: Mode = "validated",
    ) -> None:
        self._learner = learner
        self._publisher = publisher
        self._exporter = exporter
        streamed = streamed or StreamedFeatures.none()
        self._layouts = sorted(streamed.layouts)
        self._shared = SharedPublication(publisher, entities, catalog, streamed, visits, item_sets)
        self._rows_every = rows_every
        self._dense_every = dense_every
        self._revive = revive
        self._clock = clock
        self._wall_clock = wall_clock
        self._vectors = vectors
        self._start_id = start_id or secrets.token_hex(6)
        self._rule = TakeoverRule(take_over)
        self._run = ""
        self._serves = False
        """Whether servers follow this run, or may at once."""
        self._waited = False
        """Whether what all models share was published while servers followed another run."""
        self.status: Mapping[str, object] = {}
        """The latest status: figures by name, or groups of figures."""
        self._rows_due = self._dense_due = -float("inf")

    def start(self, run: str) -> None:
        """Publish `run`, first in full: Redis may hold an older or newer state than training resumed from."""
        self._run = run
        self._publisher.begin(run)
        self._serves = self._waited = False
        self._learner.store.subscribe(CONSUMER)
        self._shared.change_all()
        if self._vectors is not None:
            self._vectors.start()

    def due(self) -> bool:
        return self._clock() >= self._rows_due

    def seconds_left(self) -> float:
        """Time until the next publication is due."""
        return max(self._rows_due - self._clock(), 0.0)

    def publish(
        self, progress: Progress, report: Mapping[str, object], *, has_caught_up: bool, dense: bool = False
    ) -> bool:
        """Publish what changed, and the trainer's status; False if that failed.

        Dense weights are included if they are due and the graph is traced; `dense` waits for the tracing. `report` is
        what the trainer adds to the status, `has_caught_up` whether the model may replace another run.
        """
        started = self._clock()
        self._rows_due = started + self._rows_every
        try:
            self._shared.take(has_caught_up=has_caught_up)
            self._publish_model(progress, started, has_caught_up=has_caught_up, dense=dense)
            self.status = {**self._status(progress), "caught_up": has_caught_up, **report}
            self._publisher.publish_status(self.status)
        except OutOfStepError as error:
            logger.warning("publishing all rows again: %s", error)
            self.start(self._run)
            self._rows_due = self._dense_due = started  # the graph may be lost, too
            return False
        except (PublishError, ExportError, FileError) as error:  # the last: no room for the values of rows on disk
            logger.warning("not published, training goes on: %s", error)
            if isinstance(error, PublishError):
                self._try_to_revive()
            return False
        return True

    def _publish_model(self, progress: Progress, started: float, *, has_caught_up: bool, dense: bool) -> None:
        """Publish what is due, in full if this run replaces another one, and nothing of it while it may not."""
        verdict = self._rule.verdict(self._publisher.runs, lambda: self._candidacy(progress, has_caught_up, dense))
        self._serves, replaces = verdict is None, verdict is not None and verdict.may
        if self._serves or replaces:
            if self._waited:
                self._shared.change_all()  # Redis may have been emptied meanwhile, which is why this run may serve
                self._waited = False
            if replaces or dense or (started >= self._dense_due and self._exporter.ready):
                self._publish_dense(progress.now)
                self._dense_due = started + self._dense_every
            self._publish_rows()
            self._shared.publish(self._publish_vectors)
        elif has_caught_up:
            self._waited = True
            self._shared.publish()
        if verdict is not None and verdict.may:
            self._serves = self._publisher.take_over(self._version(), verdict.because, verdict.over)

    def _candidacy(self, progress: Progress, has_caught_up: bool, dense: bool) -> Candidacy:
        """`dense` waits for the tracing."""
        figures = {task: figures_of(progress.recent(task)) for task in progress.tasks}
        traced = dense or self._exporter.ready
        return Candidacy(self._run, self._learner.steps, progress.lag_events, has_caught_up, traced, figures)

    def _version(self) -> str:
        return f"step-{self._learner.steps}-{self._run}-{self._start_id}"

    def _try_to_revive(self) -> None:
        try:
            self._revive()
        except OSError as error:
            logger.warning("Redis cannot be restarted: %s", error)

    def _publish_rows(self) -> None:
        delta = self._learner.store.delta(CONSUMER)
        self._publisher.publish(replace(delta, tables=_read_by_servers(delta.tables)))
        self._learner.store.acknowledge(CONSUMER, delta.sequence)

    def _publish_vectors(self, described: Iterable[str]) -> None:
        if self._vectors is not None:
            self._vectors.publish(self._publisher, described)

    def _publish_dense(self, now: int) -> None:
        step, spec = self._learner.steps, self._learner.spec
        dims = {name: table.dim for name, table in _read_by_servers(self._learner.store.tables).items()}
        graphs = {RANKER: self._exporter.graph(self._learner.served_model)}
        if self._learner.beside.retrieval is not None:
            graphs[USER_TOWER] = tower_graph(self._learner.beside.retrieval.model.user)
        described = spec, self._learner.scaling, self._learner.tasks
        self._publisher.publish_artefact(Artefact(self._version(), step, now, dims, graphs, *described))

    def _status(self, progress: Progress) -> dict[str, object]:
        return {
            "run": self._run,
            "serves": self._serves,
            **({"waits": self._rule.waits} if self._rule.waits else {}),
            "counted": self._layouts,
            **trainer_report(self._learner, progress),
            "written": int(self._wall_clock() * 1000),
        }


def _read_by_servers(tables: Mapping[str, _T]) -> dict[str, _T]:
    """All but the tables of the item tower, whose vectors are published instead."""
    return {name: table for name, table in tables.items() if not name.startswith(ITEM_TABLE)}
