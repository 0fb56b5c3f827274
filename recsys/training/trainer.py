"""Online training: the loop that follows the log.

One turn of the loop:
1. poll: read events, join them, cut batches;
2. step: score a batch (progressive validation), then learn from it;
3. publish: send changed embedding rows, and less often dense weights, to serving;
4. checkpoint: capture the complete state every so many steps, so that a restart repeats the same steps; the files
   are written in the background while training goes on. A failure is logged, and the next step tries again;
5. commit: tell the log how far the last complete checkpoint is. Only a hint: resuming uses the checkpoint's cursor.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recsys.errors import LogError
from recsys.training.checkpoint.background_checkpoint import BackgroundCheckpoint
from recsys.training.checkpoint.checkpoint_copies import CheckpointCopies
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.learner import Learner
from recsys.training.progress import Progress
from recsys.training.publishing.publication import Publication
from recsys.training.training_state import TrainingState
from streaming.catalog import Catalog
from streaming.co_visits import CoVisits
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec
from streaming.feed import Feed
from streaming.kept.kept_batches import KeptBatches
from streaming.log.event_log import Cursor, EventLog

logger = logging.getLogger(__name__)

CONSUMER = "trainer"
_QUIET = 1.0
"""Seconds between publications while nothing comes, which have the trainer's status alone."""
_FINAL_ATTEMPTS = 3
"""Publications at the end: if Redis was gone the first starts it, and if it is empty the second asks for all rows."""


class Trainer:
    """Learns from `feed` and keeps `checkpoints`; resumes from the newest complete one.

    `after_step` is called with the number of each step and the progress. `crash` is called with the name of each point
    at which a test may kill the trainer, for points of a checkpoint from the thread that writes it.
    """

    def __init__(
        self,
        learner: Learner,
        feed: Feed,
        log: EventLog,
        catalog: Catalog,
        checkpoints: Checkpoints,
        progress: Progress,
        *,
        visits: CoVisits | None = None,
        publication: Publication | None = None,
        copies: CheckpointCopies | None = None,
        kept: KeptBatches | None = None,
        checkpoint_every: int = 500,
        increments: int = 0,
        poll_events: int = 8192,
        after_step: Callable[[int, Progress], None] = lambda _steps, _progress: None,
        crash: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self.learner = learner
        self.progress = progress
        self._feed = feed
        self._log = log
        self._state = TrainingState(learner, feed, catalog, visits, progress, log.identity, kept, increments)
        self._checkpoints = checkpoints
        self._publication = publication
        self._copies, self._kept = copies, kept
        self._checkpoint_every = checkpoint_every
        self._poll_events = poll_events
        self._after_step = after_step
        self._crash = crash
        self._checkpoint = BackgroundCheckpoint(checkpoints, self._capture, self._completed)
        self._forgot = False
        """Whether users were erased since the last checkpoint began, which has them still."""

    def resume(self) -> Path | None:
        """Restore the newest complete checkpoint and return its folder; None if there is no checkpoint.

        A newer copy is brought first, if there are `copies`. Raises StateError if it was made with other settings or
        another log, if all checkpoints are damaged, or if there are none here and copies cannot be read.
        """
        self._checkpoints.remove_unfinished()
        if self._copies is not None:
            self._copies.restore(self._checkpoints)
        path = self._checkpoints.newest()
        if path is not None:
            self._state.load(path)
            self._checkpoint.saved_step = self.learner.steps
        return path

    def migrate(self, path: Path) -> FeatureSpec:
        """See `TrainingState.migrate`."""
        return self._state.migrate(path)

    def skip(self, until: int | None = None) -> None:
        """Read the log, up to the first event at the time `until` (ms) or later, without learning from it.

        What it says of users, items and the catalogue counts. Windows still open then close: training goes on with the
        impressions after.
        """
        for _ in self._feed.poll(until=until):
            pass
        for _ in self._feed.finish():
            pass

    def run(self, *, follow: bool, stop: threading.Event, until: int | None = None) -> None:
        """Train to the end of the log; with `follow` wait for more until `stop` is set.

        Impressions whose window is still open at the end stay in the checkpoint, so that later events can join them.
        `until` (event time, ms) stops before the first event that is later. Raises CheckpointError if the last
        checkpoint cannot be written.
        """
        self.progress.start(self._feed.joiner.sequence)
        if self._kept is not None:
            self._kept.begin(self._state.run_id, self.learner.steps)
        if self._publication is not None:
            self._publication.start(self._state.run_id)
        self._publish()
        try:
            self._follow(follow, stop, until)
        finally:
            self._checkpoint.settle()
        self.checkpoint()
        for _ in range(_FINAL_ATTEMPTS):
            if self._publish(dense=True):
                break
        if self._copies is not None:
            self._copies.settle()

    def checkpoint(self) -> None:
        """Write the complete current state, then commit the log; returns when the checkpoint is complete.

        Raises CheckpointError if it cannot be written.
        """
        self._checkpoint.settle()
        if self._checkpoint.saved_step != self.learner.steps or self._forgot:
            self._checkpoint.begin(self.learner.steps, self._feed.cursor)
            self._checkpoint.finish()

    @property
    def run_id(self) -> str:
        """See `TrainingState.run_id`."""
        return self._state.run_id

    @property
    def outcomes(self) -> dict[str, int]:
        """Number of events by what the joiner did with them (see `streaming.join.outcomes`)."""
        return self._feed.joiner.counts

    @property
    def losses(self) -> dict[str, int]:
        """What rows were made without (see `Feed.losses`)."""
        return self._feed.losses

    @property
    def published(self) -> Mapping[str, object]:
        """The latest status; empty without a publication."""
        return {} if self._publication is None else self._publication.status

    @property
    def waiting_rows(self) -> int:
        """Training rows with their label that wait for a full batch."""
        return self._feed.waiting_rows

    @property
    def unlabelled(self) -> int:
        """Shown items without their label so far, over all tasks."""
        return self._feed.joiner.unlabelled

    def digest(self) -> str:
        """SHA-256 of the whole state: weights, embedding rows, optimizers, joiner, cursor, catalog."""
        return self._state.digest()

    def _follow(self, follow: bool, stop: threading.Event, until: int | None) -> None:
        while not stop.is_set():
            cursor, lag = self._feed.cursor, self._feed.lag_events
            for batch in self._feed.poll(self._poll_events, until=until):
                self._learn(batch)
                if stop.is_set():
                    break
            else:
                self._forget()
                reached = until is not None and lag > 0  # unread events remain, all of them later
                if self._feed.cursor == cursor and (reached or not self._idle(follow, stop)):
                    break

    def _capture(self, folder: Path) -> Callable[[], None]:
        """Copy the current state; the function returned writes it into `folder`."""
        before = None if self._forgot else self._checkpoint.saved  # which has the rows of users who were erased
        self._forgot = False
        return self._state.begin_save(folder, lambda: self._crash("rows written"), before)

    def _completed(self, cursor: Cursor) -> None:
        self._crash("checkpoint written")
        try:
            self._log.commit(CONSUMER, cursor)
        except LogError as error:  # it is only a hint
            logger.warning("the log was not told how far it has been learned, training goes on: %s", error)
        if self._copies is not None and (saved := self._checkpoint.saved) is not None:
            self._copies.offer(saved)

    def _forget(self) -> None:
        """Drop the rows of users who were erased before the next batch."""
        if erased := self._feed.take_erased():
            self.learner.forget(erased)
            if self._kept is not None:
                self._kept.forget(erased)
            self._forgot = True

    def _learn(self, batch: TrainingBatch) -> None:
        self._forget()
        scores_B = self.learner.step(batch)
        if self._kept is not None:
            self._kept.add(self.learner.steps, batch)
        self.progress.add(batch, scores_B, events=self._feed.joiner.sequence, lag=self._feed.lag_events)
        self._after_step(self.learner.steps, self.progress)
        self._crash("step")
        if self._publication is not None and self._publication.due():
            self._publish()
        if self._checkpoint.written:
            self._checkpoint.settle()
        if self._checkpoint.must_retry or self._forgot or self.learner.steps % self._checkpoint_every == 0:
            self._checkpoint.settle((self.learner.steps, self._feed.cursor))

    def _idle(self, follow: bool, stop: threading.Event) -> bool:
        """At the end of the log: learn from what is left, publish, wait. False if there is nothing to wait for."""
        if not follow:
            return False
        for batch in self._feed.drain():
            self._learn(batch)
        self._checkpoint.settle((self.learner.steps, self._feed.cursor) if self._forgot else None)
        settled = self._publication is None
        while not stop.is_set():
            if self._publication is not None and self._publication.due():
                settled = self._publish()
            left = self._publication.seconds_left() if self._publication is not None else 0.0
            if self._log.wait(self._feed.cursor, max(left, _QUIET if settled else 0.01)):
                break
        return True

    def _publish(self, *, dense: bool = False) -> bool:
        """False if Redis is gone."""
        self.progress.lag_events = self._feed.lag_events  # events that make no row change it, too
        return self._publication is None or self._publication.publish(
            self.progress, self._report(), has_caught_up=self._has_caught_up, dense=dense
        )

    def _report(self) -> dict[str, Mapping[str, Any]]:
        """What the trainer says of itself beside its progress."""
        copy = {} if self._copies is None else {"copy": self._copies.status}
        return {"outcomes": self.outcomes, "losses": self.losses, "checkpoint": {**self._checkpoint.report, **copy}}

    @property
    def _has_caught_up(self) -> bool:
        """Whether at most 1 % of the log is unread, and the model has learned something."""
        lag, read = self._feed.lag_events, self._feed.joiner.sequence
        return self.learner.steps > 0 and lag * 100 <= read + lag
