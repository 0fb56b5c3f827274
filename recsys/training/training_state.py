"""All that a trainer knows, as checkpoints keep it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from embedding.snapshot.increments import Increments
from recsys.errors import RecsysError, StateError
from recsys.training.checkpoint.manifest import RUN, part_folder, saved_run
from recsys.training.checkpoint.unusable import ANEW, unusable
from recsys.training.learner import ROWS, Learner
from recsys.training.migration import load_migrated
from recsys.training.progress import Progress
from streaming.catalog import Catalog
from streaming.co_visits import CoVisits
from streaming.encode.feature_spec import FeatureSpec
from streaming.feed import Feed
from streaming.kept.kept_batches import KeptBatches
from streaming.log.identity import difference

FEED = "feed.bin"
CATALOG = "catalog.bin"
LOG = "log"
"""The file with the identity of the log that the cursor is of; checkpoints of before have none."""
VISITS = "co_visits.bin"
"""The file with counts of items clicked together; checkpoints without them have none, and they begin empty then."""


@dataclass
class TrainingState:
    """The learner, its place in the log with what is known of events before it, and the progress."""

    learner: Learner
    feed: Feed
    catalog: Catalog
    visits: CoVisits | None
    progress: Progress
    log: str
    """The identity of the log that `feed` reads."""
    kept: KeptBatches | None = None
    """The batches that were learned from, if they are kept."""
    increments: int = 0
    """How many checkpoints in a row may have only the embedding rows that changed since the one before."""
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))
    """Names what one training from nothing learns; a checkpoint keeps it (`publish.served_run`)."""

    def load(self, path: Path) -> None:
        """Restore the complete checkpoint `path`.

        Raises StateError if it was made with other settings or another log, or if it is damaged.
        """
        folder = part_folder(path)
        try:
            self._check_log(folder / LOG)
            self.learner.load(folder)
            self.feed.restore((folder / FEED).read_bytes())
            self._load_counts(folder)
            self.run_id = saved_run(path)
        except (RecsysError, ValueError, OSError) as error:
            raise StateError(unusable(path, error)) from error

    def migrate(self, path: Path) -> FeatureSpec:
        """Load the complete checkpoint `path`, written for other fields, and return those fields.

        It begins a run of its own, because the graph of the run before cannot score its rows. Writes nothing.
        Raises StateError if more than the fields differ (see `load_migrated`), or if the log does.
        """
        folder = part_folder(path)
        try:
            self._check_log(folder / LOG)
            written = load_migrated(self.learner, folder)
            self.feed.restore((folder / FEED).read_bytes(), adapt=True)
            self._load_counts(folder)
        except (RecsysError, ValueError) as error:
            raise StateError(f"{path} cannot be migrated: {error}") from error
        return written

    def begin_save(
        self, folder: Path, rows_written: Callable[[], None], before: Path | None = None
    ) -> Callable[[], None]:
        """Copy the current state; the function returned writes it into `folder`, from any thread.

        It calls `rows_written` between the learner's files and the others. `before` is the complete checkpoint that it
        may build on.
        """
        feed, catalog = self.feed.state(), self.catalog.state()
        visits = None if self.visits is None else self.visits.state()
        write_progress = self.progress.begin_save(folder)
        base = None if before is None else before / "rank-0" / ROWS
        increments = Increments(base, self.increments) if self.increments else None
        write_learner = self.learner.begin_save(folder, increments)
        write_kept = None if self.kept is None else self.kept.end_file()

        def write() -> None:
            write_learner()
            rows_written()
            (folder / FEED).write_bytes(feed)
            (folder / CATALOG).write_bytes(catalog)
            if visits is not None:
                (folder / VISITS).write_bytes(visits)
            (folder / RUN).write_text(self.run_id)
            (folder / LOG).write_text(self.log)
            write_progress()
            if write_kept is not None:
                write_kept()

        return write

    def digest(self) -> str:
        """SHA-256 of weights, embedding rows, optimizers, joiner, cursor and catalog."""
        parts: tuple[bytes, ...] = (self.learner.digest().encode(), self.feed.state(), self.catalog.state())
        if self.visits is not None:
            parts = (*parts, self.visits.state())
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def _check_log(self, file: Path) -> None:
        """Raises StateError if a checkpoint is of a log of the same name that is not this one."""
        written = file.read_text() if file.exists() else ""
        if why := difference(written, self.log):
            raise StateError(
                f"it is of another log than that at [log] url: {why}. Offsets name other events there: write the url "
                f"of the log that it is of, or {ANEW}"
            )

    def _load_counts(self, folder: Path) -> None:
        self.catalog.restore((folder / CATALOG).read_bytes())
        if self.visits is not None and (file := folder / VISITS).exists():
            self.visits.restore(file.read_bytes())
        self.progress.load(folder)
