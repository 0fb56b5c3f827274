"""The log of a study, written once, and read once for all fits that read the same of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from recsys import wiring
from recsys.config.schema import Config
from recsys.fit.parts import Parts, read_rows, split
from streaming.encode.batch import TrainingBatch


class StudyRows:
    """The rows of `events`, whose log is below `folder`.

    Those that were read last are kept: settings of a table differ in models and seeds more often than in fields.
    """

    def __init__(self, events: Iterable[pa.RecordBatch], folder: Path) -> None:
        self._events, self._folder = events, folder
        self._read: tuple[object, TrainingBatch] | None = None

    def parts(self, config: Config) -> Parts:
        """The parts of the log for a fit by `config`, whose log is that below `folder`."""
        rows = self._rows(config)
        return split(rows, config.fit, config.training.seed)

    def _rows(self, config: Config) -> TrainingBatch:
        key = config.features.fields, config.training.model_dump(exclude={"seed", "checkpoints"})
        if self._read is None or self._read[0] != key:
            self._read = None  # or both would be in memory
            self._write_log(config)
            with closing(wiring.event_log(config)) as log:
                self._read = key, read_rows(config, log)
        return self._read[1]

    def _write_log(self, config: Config) -> None:
        """Write the log, unless it is complete."""
        complete = self._folder / "ingested"
        if not complete.exists():
            shutil.rmtree(self._folder / "log", ignore_errors=True)
            with closing(wiring.event_log(config)) as log:
                for batch in self._events:
                    log.append(batch)
            complete.touch()
