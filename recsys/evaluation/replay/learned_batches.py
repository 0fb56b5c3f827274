"""What is learned from, in order: read from the log once, or kept by a trainer, then gone through several times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError, StateError, file_errors
from recsys.unlearned import LOST
from streaming.encode.batch import TrainingBatch
from streaming.feed import Feed
from streaming.kept.batch_files import BatchFile, GrowingFile, batch_files
from streaming.kept.batch_format import KeptBatch
from streaming.log.event_log import EventLog

FILE = 1 << 18
"""Rows in a temporary file, about: it is in memory until it is written."""


@dataclass(frozen=True, slots=True)
class LearnedBatches:
    """The batches in these files, and rows of the end of a log that make no full batch."""

    files: Sequence[BatchFile]
    rest: Sequence[TrainingBatch] = ()
    labelled_until: int | None = None
    """All labels are known of what was shown before this event time (ms); None if all labels are known."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Events of the log that nothing could be learned from, and what rows were made without, by reason."""

    def __iter__(self) -> Iterator[KeptBatch]:
        for file in self.files:
            yield from file.batches()

    def rows(self) -> Iterator[TrainingBatch]:
        """All that has a label."""
        yield from (kept.batch for kept in self if len(kept.batch))
        yield from self.rest

    def times(self) -> npt.NDArray[np.int64]:
        """Of the items shown, once each, rising."""
        parts = [rows.times_B[(rows.tasks_B == 0) & (rows.counted_B > 0)] for rows in self.rows()]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))


class BatchFeed:
    """Gives batches as a feed does, as far as the log had been read up to a time."""

    def __init__(self, batches: LearnedBatches) -> None:
        self._batches = iter(batches)
        self._next = next(self._batches, None)
        self._erased: list[str] = []

    def poll(self, until: int) -> Iterator[TrainingBatch]:
        """As `Feed.poll`."""
        while self._next is not None and self._next.batch.clock < until:
            kept, self._next = self._next, next(self._batches, None)
            self._erased += kept.erased
            if len(kept.batch):
                yield kept.batch

    def take_erased(self) -> list[str]:
        """As `Feed.take_erased`."""
        erased, self._erased = self._erased, []
        return erased


@contextmanager
def read_once(config: Config, log: EventLog) -> Iterator[LearnedBatches]:
    """What a trainer learns from the whole log, in a temporary folder. Raises FileError when its disk is full."""
    feed = wiring.feed(config, log)
    with tempfile.TemporaryDirectory(prefix="recsys-replay-") as folder:
        with file_errors("the temporary folder of a replay (TMPDIR)", Path(folder)):
            _write(config, _numbered(feed), Path(folder))
        rest = [*feed.finish()]
        lost = {name: feed.joiner.counts[name] for name in LOST}
        impaired = {name: count for name, count in feed.losses.items() if count}
        yield LearnedBatches(batch_files(Path(folder)), rest, lost=lost | impaired)


def kept_run(config: Config, folder: Path) -> LearnedBatches:
    """What a trainer kept of a run: `folder` is that of the run, or of all, of which the newest checkpoint names one.

    Raises InvalidValueError if it is none, or if the configuration makes other batches, StateError for damaged files
    and missing steps.
    """
    with file_errors("the kept batches (--batches)", folder):
        files = _files(folder, config.training.checkpoints)
    _check(config, files)
    *_, last = files[-1].batches()
    tasks = wiring.tasks(config)
    closed = last.batch.now - max(task.wait for task in tasks) - config.training.lateness
    return LearnedBatches(files, labelled_until=closed - 1)


def _numbered(feed: Feed) -> Iterator[KeptBatch]:
    for step, batch in enumerate(feed.poll(), 1):
        yield KeptBatch(step, batch, tuple(feed.take_erased()))


def _write(config: Config, batches: Iterator[KeptBatch], folder: Path) -> None:
    per_file = max(FILE // config.training.batch_size, 1)
    for first in batches:
        file = GrowingFile(wiring.batch_origin(config))
        for kept in chain([first], islice(batches, per_file - 1)):
            file.add(kept)
        file.finish().write(folder, durably=False)


def _files(folder: Path, checkpoints: Path) -> list[BatchFile]:
    from recsys.training.checkpoint.checkpoints import Checkpoints
    from recsys.training.checkpoint.manifest import saved_run

    runs = [path for path in (folder, *sorted(folder.iterdir())) if path.is_dir() and batch_files(path)]
    if len(runs) > 1 and (newest := Checkpoints(checkpoints).newest()) is not None:
        runs = [run for run in runs if run.name == saved_run(newest)] or runs
    if len(runs) != 1:
        several = f"has batches of {len(runs)} runs, {', '.join(run.name for run in runs)}: name the folder of one"
        none = "has no batches: name the folder in [training] batches_folder, or the folder of a run in it"
        raise InvalidValueError(f"--batches: {folder} {several if runs else none}")
    return batch_files(runs[0])


def _check(config: Config, files: Sequence[BatchFile]) -> None:
    for one, other in pairwise(files):
        if other.first != one.last + 1:
            raise StateError(
                f"{other.path} does not follow on {one.path.name}: batches of steps between them are missing or are "
                "there twice. Restore the files from a copy, remove those before, or replay the log"
            )
    wanted = wiring.batch_origin(config)
    for file in files:
        if differing := file.content().origin.differences(wanted):
            raise InvalidValueError(
                f"--batches: {file.path} was made with other {', '.join(differing)}. Put the settings back, or leave "
                "--batches out to replay the log"
            )
