"""Online training: the loop that follows the log.

One turn of the loop:
1. poll: read events, join them, cut batches;
2. step: score a batch (progressive validation), then learn from it;
3. publish: send changed rows, and now and then dense weights, to serving;
4. checkpoint: everything of one moment, by step count, so that a restart repeats the same steps;
5. commit: tell the log how far the checkpoint is. Only a hint: the checkpoint's own cursor counts.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from recsys.errors import RecsysError, StateError
from recsys.training.checkpoint import Checkpoints
from recsys.training.learner import Learner
from recsys.training.progress import Progress
from recsys.training.publication import Publication
from streaming.catalog import Catalog
from streaming.encode.batch import TrainingBatch
from streaming.feed import Feed
from streaming.log.event_log import EventLog

CONSUMER = "trainer"


class Trainer:
    """Learns from `feed` and keeps `checkpoints`; resumes from the newest whole one.

    `crash` is called with the name of every point at which a test may kill the trainer.
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
        publication: Publication | None = None,
        checkpoint_every: int = 500,
        poll_events: int = 8192,
        crash: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self.learner = learner
        self.progress = progress
        self._feed = feed
        self._log = log
        self._catalog = catalog
        self._checkpoints = checkpoints
        self._publication = publication
        self._checkpoint_every = checkpoint_every
        self._poll_events = poll_events
        self._crash = crash
        self._saved_step = -1

    def resume(self) -> Path | None:
        """Take over the newest whole checkpoint; returns it, or None when there is none.

        Raises StateError when it is of other settings or another log, or when no checkpoint is whole.
        """
        path = self._checkpoints.newest()
        if path is not None:
            try:
                self._load(path)
            except (RecsysError, ValueError) as error:
                raise StateError(
                    f"{path} cannot be resumed from: {error}\nPut the settings and the log back that it was made with, "
                    "or name another folder in [training] checkpoints to learn anew from the beginning of the log"
                ) from error
        return path

    def _load(self, path: Path) -> None:
        self.learner.load(path)
        self._feed.restore((path / "feed.bin").read_bytes())
        self._catalog.restore((path / "catalog.bin").read_bytes())
        self.progress.load(path)
        self._saved_step = self.learner.steps

    def run(self, *, follow: bool, stop: threading.Event, until: int | None = None) -> None:
        """Train to the end of the log, and with `follow` go on waiting for more until `stop` is set.

        Impressions whose window is still open at the end stay in the checkpoint, for the events that are yet to come.
        `until` (event time, ms) stops before the first event that is later.
        """
        if self._publication is not None:
            self._publication.start()
        self._publish()
        while not stop.is_set():
            cursor, lag = self._feed.cursor, self._feed.lag_events
            for batch in self._feed.poll(self._poll_events, until=until):
                self._learn(batch)
                if stop.is_set():
                    break
            else:
                reached = until is not None and lag > 0  # there was more to read, and all of it is later
                if self._feed.cursor == cursor and (reached or not self._idle(follow, stop)):
                    break
        self.checkpoint()
        # Redis may be gone, and empty when it is back: then the first call starts it and the second asks for all rows.
        any(self._publish(dense=True) for _ in range(3))

    def checkpoint(self) -> None:
        """Write everything of this moment, then commit the log."""
        if self._saved_step == self.learner.steps:
            return
        with self._checkpoints.writing(self.learner.steps) as folder:
            self.learner.save(folder)
            self._crash("rows written")
            (folder / "feed.bin").write_bytes(self._feed.state())
            (folder / "catalog.bin").write_bytes(self._catalog.state())
            self.progress.save(folder)
        self._saved_step = self.learner.steps
        self._crash("checkpoint written")
        self._log.commit(CONSUMER, self._feed.cursor)

    @property
    def outcomes(self) -> dict[str, int]:
        """What became of the events (see `streaming.join.outcomes`)."""
        return self._feed.joiner.counts

    @property
    def losses(self) -> dict[str, int]:
        """What rows were made without (see `Feed.losses`)."""
        return self._feed.losses

    def digest(self) -> str:
        """Hash of the whole state: weights, rows, optimizers, joiner, cursor, catalog."""
        parts = (self.learner.digest().encode(), self._feed.state(), self._catalog.state())
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def _learn(self, batch: TrainingBatch) -> None:
        scores_B = self.learner.step(batch)
        self.progress.add(batch, scores_B, lag=self._feed.lag_events)
        self._crash("step")
        if self._publication is not None and self._publication.due():
            self._publish()
        if self.learner.steps % self._checkpoint_every == 0:
            self.checkpoint()

    def _each(self, batches: list[TrainingBatch]) -> None:
        for batch in batches:
            self._learn(batch)

    def _idle(self, follow: bool, stop: threading.Event) -> bool:
        """Nothing more to read: learn from what is left, publish, wait. False when there is nothing to wait for."""
        if not follow:
            return False
        self._each(self._feed.drain())
        while not stop.is_set():
            if self._publication is not None and self._publication.due():
                self._publish()
            timeout = self._publication.seconds_left() if self._publication is not None else 1.0
            if self._log.wait(self._feed.cursor, max(timeout, 0.01)):
                break
        return True

    def _publish(self, *, dense: bool = False) -> bool:
        return self._publication is None or self._publication.publish(self.progress.now, dense=dense)
