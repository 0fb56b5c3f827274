"""The online stage of a replay: one pass over the log gives the rows to score, their times and the counts.

Shape suffixes: B rows of a batch, R shown items of the whole log.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.scored_rows import ScoredRows, outcomes
from recsys.unlearned import LOST, REMEDY, not_learned
from streaming.encode.batch import TrainingBatch
from streaming.log.event_log import EventLog

Times = npt.NDArray[np.int64]

NOTHING_SHOWN = "the log has no impressions to evaluate; ingest some, with their interactions"


@dataclass(frozen=True, slots=True)
class Share:
    """The event time before which this share of the shown items lies. Raises InvalidValueError unless 0 < share < 1."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InvalidValueError(f"a share is between 0 and 1, such as 0.8, got {self.share}")

    def time(self, times_R: Times) -> int:
        """In ms, where `times_R` are the times of the shown items, rising; there is at least one.

        >>> Share(0.8).time(np.array([10, 20, 30, 40, 50]))
        50
        """
        return int(times_R[int(self.share * len(times_R))])


@dataclass(frozen=True, slots=True)
class OnlineStage:
    """What a replay evaluates: the rows shown from `start`, the end of the batch stage, up to `end` (exclusive, ms)."""

    rows: ScoredRows
    start: int
    end: int
    shown: int
    """Items shown in the whole log, as far as the joiner could use their impressions."""
    lost: dict[str, int]
    """Events of the whole log that nothing could be learned from, and what rows were made without, by reason."""


def online_stage(config: Config, log: EventLog, batch_until: int | Share, until: int | None = None) -> OnlineStage:
    """Read the log once; tables and model of the configuration play no part.

    `batch_until` and `until` (exclusive; the end of the log by default) are event times in ms. With a share, all rows
    of the log are in memory until its time is known. Raises InvalidValueError if there is nothing to evaluate.
    """
    feed = wiring.feed(config, log, labels="held")
    batches = _Timed(outcomes(feed))
    limit = sys.maxsize if until is None else until
    if isinstance(batch_until, Share):
        kept = list(batches)
        start = batch_until.time(batches.times()) if kept else 0
        rows = ScoredRows(kept, start, limit)
    else:
        start, rows = batch_until, ScoredRows(batches, batch_until, limit)
    times_R = batches.times()
    lost = {name: feed.joiner.counts[name] for name in LOST}
    if not len(times_R):
        raise InvalidValueError(NOTHING_SHOWN + _lost(lost, 1 + len(config.tasks)))
    end = until if until is not None else int(times_R[-1]) + 1
    if not len(rows) or start <= times_R[0]:
        raise InvalidValueError(_no_stage(times_R, start, end) + _lost(lost, 1 + len(config.tasks)))
    impaired = {name: count for name, count in feed.losses.items() if count}
    return OnlineStage(rows, start, end, len(times_R), lost | impaired)


class _Timed:
    """Batches, with the times of the shown items in them."""

    def __init__(self, batches: Iterable[TrainingBatch]) -> None:
        self._batches = batches
        self._times = [np.zeros(0, np.int64)]

    def __iter__(self) -> Iterator[TrainingBatch]:
        for batch in self._batches:
            self._times.append(batch.times_B[batch.tasks_B == 0])
            yield batch

    def times(self) -> Times:
        """Of the items so far, rising."""
        return np.sort(np.concatenate(self._times))


def _no_stage(times_R: Times, start: int, end: int) -> str:
    first, last = (_iso(int(time)) for time in (times_R[0], times_R[-1]))
    if times_R[0] == times_R[-1]:
        return f"all impressions are of one time, {first}, so that none comes after others: see how times are read"
    if start <= times_R[0]:
        problem = f"the batch stage would end at {_iso(start)}, not after the first impression: it would be empty"
    else:
        problem = f"no impression from the end of the batch stage, {_iso(start)}, up to {_iso(end)}"
    return f"{problem}; the log's are from {first} to {last}: choose a time between them"


def _lost(lost: Mapping[str, int], tasks: int) -> str:
    """The end of a message, where events were lost."""
    words = not_learned(lost, tasks)
    return f". Not learned from, in the whole log: {words}: {REMEDY}" if words else ""


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds" if time % 1000 else "seconds")
