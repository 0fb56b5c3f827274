"""What would be ingested of the first rows, and what labels they give: the real parts, on a log in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recsys import wiring
from recsys.config.schema import Config
from recsys.log_survey import unmet
from recsys.proposal.files.sample import ROWS
from recsys.proposal.mappings.delays import delays, longer_wait
from recsys.proposal.mappings.mapping import Noted
from streaming.events.schema import EVENT_SCHEMA
from streaming.ingest.counts import Counts
from streaming.ingest.formats.sources import BEGIN, Position, Source
from streaming.log.event_log import read_range
from streaming.log.memory_log import MemoryLog

_FILES: Final = 20
"""Most files that are tried; parts of one file are alike."""
_MORE: Final = 30 * ROWS
"""Most rows of a file in which both labels are looked for."""


@dataclass(frozen=True)
class Trial:
    """Counts of records, the commonest reasons of refusals, the span of times (ms), and labels."""

    rows: int
    """Rows of the files that were read; a row can hold or share several events."""
    counts: Counts
    reasons: Sequence[tuple[str, int]]
    span: tuple[int, int] | None
    late: int
    """Events that come too late for the joiner, as the rows stand."""
    positives: int
    negatives: int
    unmatched: int
    """Interactions without their list, or with an item that it did not show."""
    tardy: int
    """Interactions that came later than `training.wait` after their list."""
    wait: Noted | None
    """A longer `training.wait`, if more than a few of what was done came after it."""
    example: str
    """A list and an interaction that did not meet, in words, where no label is positive."""
    events: str
    """The accepted events by kind, in words."""

    @property
    def labels(self) -> int:
        return self.positives + self.negatives


def trial(config: Config, files: Sequence[Path]) -> Trial:
    """Ingest and join the first rows of the files, as `recsys ingest` and `recsys train` would; nothing is kept.

    Of files whose first rows give labels of one kind, more rows; events that are not in the order of time are sorted,
    as the user is told to do. Raises RecsysError as these do.
    """
    tried = _tried(config, files, ROWS)
    return _tried(config, files, _MORE) if tried.labels and not (tried.positives and tried.negatives) else tried


def _tried(config: Config, files: Sequence[Path], rows: int) -> Trial:
    log = MemoryLog()
    with TemporaryDirectory() as folder:
        aside = config.log.model_copy(
            update={"url": f"file:{folder}/log", "dead_letters": Path(folder, "dead.jsonl"), "partitions": 1}
        )
        config = config.model_copy(update={"log": aside})
        ingest = wiring.ingest(config, log)
        firsts = [[_First(source, rows) for source in wiring.sources(config, file)] for file in files[:_FILES]]
        ingest.merge([first for of_file in firsts for first in of_file])
    joiner = wiring.joiner(config, "held")
    for events in _in_order(log) if ingest.late_events.count else _events(log):
        joiner.push(events)
    joiner.flush()
    labels, lost = joiner.tallies, joiner.counts
    return Trial(
        sum(max((first.rows for first in of_file), default=0) for of_file in firsts),
        ingest.counts,
        ingest.reasons.most_common(3),
        ingest.span,
        ingest.late_events.count,
        labels["positives"],
        labels["negatives"],
        lost["unmatched"] + lost["unknown_items"],
        lost["late"],
        longer_wait(delays(_events(log), config.training.positive), config.training.wait),
        "" if labels["positives"] else unmet(log, wiring.tasks(config)[0]),
        ingest.labels.in_words,
    )


def _events(log: MemoryLog) -> Iterator[pa.RecordBatch]:
    return (chunk.events for chunk in read_range(log, 0, 0, log.end()[0]))


def _in_order(log: MemoryLog) -> Iterator[pa.RecordBatch]:
    """All events in the order of time; of one time, in that of the log."""
    table = pa.Table.from_batches(_events(log), EVENT_SCHEMA)
    order_N = np.argsort(table.column("time").to_numpy(), kind="stable")
    yield from table.take(order_N).to_batches()


class _First:
    """The first blocks of a source, until they have so many records."""

    def __init__(self, source: Source, rows: int) -> None:
        self._source, self._most = source, rows
        self.rows = 0
        """Rows that were read."""

    @property
    def name(self) -> str:
        return self._source.name

    def identity(self, before: Position) -> str:  # noqa: ARG002
        return ""  # nothing is remembered of a trial

    def blocks(self, start: Position = BEGIN) -> Iterator[Any]:
        for block in self._source.blocks(start):
            self.rows = block.end.line - start.line
            yield block
            if self.rows >= self._most:
                return
