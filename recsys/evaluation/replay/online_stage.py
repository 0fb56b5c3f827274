"""The online stage of a replay: the rows to score, their times and the counts.

Shape suffixes: R shown items of the whole log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.unlearned import REMEDY, not_learned

if TYPE_CHECKING:
    from recsys.evaluation.replay.learned_batches import LearnedBatches

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


def online_stage(
    batches: LearnedBatches, tasks: int, batch_until: int | Share, until: int | None = None
) -> OnlineStage:
    """Of the labels of so many tasks; tables and model of the configuration play no part.

    `batch_until` and `until` (exclusive; by default the end of what has all its labels) are event times in ms. Raises
    InvalidValueError if there is nothing to evaluate, or if labels are missing.
    """
    times_R = batches.times()
    if not len(times_R):
        raise InvalidValueError(NOTHING_SHOWN + _lost(batches.lost, tasks))
    start = batch_until.time(times_R) if isinstance(batch_until, Share) else batch_until
    end = _end(times_R, batches.labelled_until, until)
    rows = ScoredRows(batches.rows(), start, end)
    if not len(rows) or start <= times_R[0]:
        raise InvalidValueError(_no_stage(times_R, start, end, batches.labelled_until) + _lost(batches.lost, tasks))
    return OnlineStage(rows, start, end, len(times_R), dict(batches.lost))


def _end(times_R: Times, labelled_until: int | None, until: int | None) -> int:
    last = int(times_R[-1]) + 1 if labelled_until is None else labelled_until
    if until is not None and labelled_until is not None and until > last:
        raise InvalidValueError(
            f"labels are missing of what was shown from {_iso(last)} on: choose an earlier end than {_iso(until)}"
        )
    return last if until is None else until


def _no_stage(times_R: Times, start: int, end: int, labelled_until: int | None) -> str:
    first, last = (_iso(int(time)) for time in (times_R[0], times_R[-1]))
    if times_R[0] == times_R[-1]:
        return f"all impressions are of one time, {first}, so that none comes after others: see how times are read"
    if start <= times_R[0]:
        problem = f"the batch stage would end at {_iso(start)}, not after the first impression: it would be empty"
    elif labelled_until is not None and start >= labelled_until:
        complete = f"labels that were kept are complete until {_iso(labelled_until)} (wait and lateness before the end)"
        return f"{complete}, and the batch stage would end at {_iso(start)}: choose --batch-until before that"
    else:
        problem = f"no impression from the end of the batch stage, {_iso(start)}, up to {_iso(end)}"
    return f"{problem}; the log's are from {first} to {last}: choose a time between them"


def _lost(lost: Mapping[str, int], tasks: int) -> str:
    """The end of a message, where events were lost."""
    words = not_learned(lost, tasks)
    return f". Not learned from, in the whole log: {words}: {REMEDY}" if words else ""


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds" if time % 1000 else "seconds")
