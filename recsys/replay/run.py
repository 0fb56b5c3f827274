"""One training pass over a log that judges every arm: at each sync, score what comes next, then train on it.

Shape suffixes: R rows to score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recsys.replay.arms import Arm, Sync, schedule
from recsys.replay.rows import Rows
from streaming.batch import Batch
from streaming.features import FeatureSpec

if TYPE_CHECKING:
    from recsys.learner import Learner
    from streaming.feed import Feed

SCORE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Scored:
    """What one arm said about each row, and whether it had met its user and item (None: no field reads them)."""

    arm: Arm
    scores_R: npt.NDArray[np.float32]
    user_known_R: npt.NDArray[np.bool_] | None
    item_known_R: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: event time reached, examples learned from, rows scored."""

    time: int
    trained: int
    scored: int


class Replay:
    """Algorithm 1 of Monolith (section 3.2.2), with delayed labels and many sync rules in one pass.

    Training sees an example when `feed` emits it, so never before its label was known; an example that is still
    waiting at a sync is learned after it. What is scored does not change what is learned: an arm's scores are the
    same whichever other arms are judged beside it.
    """

    def __init__(self, learner: Learner, feed: Feed, rows: Rows, arms: Sequence[Arm], *, poll_events: int = 8192):
        self._learner = learner
        self._feed = feed
        self._rows = rows
        self._poll_events = poll_events
        self._known = _Known(learner)
        self._scored = [Scored(arm, np.zeros(len(rows), np.float32), *self._known.empty(len(rows))) for arm in arms]
        self.trained = 0

    def run(self, until: int, report: Callable[[Progress], None] = lambda _progress: None) -> list[Scored]:
        """Judge all arms on the rows before `until` (event time, ms)."""
        done = 0
        for sync in schedule([scored.arm for scored in self._scored], until):
            self._train(sync.time)
            done += self._score(sync)
            report(Progress(sync.time, self.trained, done))
        return self._scored

    def _train(self, until: int) -> None:
        """Learn from every example whose label is known by `until`, as far as full batches go."""
        cursor = None
        while cursor != self._feed.cursor:
            cursor = self._feed.cursor
            for batch in self._feed.poll(self._poll_events, until=until):
                self._learner.step(batch)
                self.trained += len(batch)

    def _score(self, sync: Sync) -> int:
        """Score each row once, up to the latest end; arms that end earlier take their part of the same scores."""
        start = self._rows.before(sync.time)
        stops = [(number, self._rows.before(end)) for number, end in sync.due]
        last = max(stop for _, stop in stops)
        for low in range(start, last, SCORE_ROWS):
            batch = self._rows.slice(low, min(low + SCORE_ROWS, last))
            scores_B = self._learner.score(batch)
            known = self._known.of(batch)
            for number, stop in stops:
                _fill(self._scored[number], low, min(stop, low + len(batch)), scores_B, known)
        return sum(stop - start for _, stop in stops)


def _fill(
    scored: Scored,
    low: int,
    stop: int,
    scores_B: npt.NDArray[np.float32],
    known: tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_] | None],
) -> None:
    count = max(stop - low, 0)
    scored.scores_R[low : low + count] = scores_B[:count]
    for whole_R, part_B in zip((scored.user_known_R, scored.item_known_R), known, strict=True):
        if whole_R is not None and part_B is not None:
            whole_R[low : low + count] = part_B[:count]


class _Known:
    """Whether users and items have a row of their own, by the fields that read their ids."""

    def __init__(self, learner: Learner) -> None:
        self._store = learner.store
        self._fields = (_id_field(learner.spec, "user"), _id_field(learner.spec, "item"))

    def empty(self, rows: int) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_] | None]:
        user_R, item_R = (None if field is None else np.zeros(rows, np.bool_) for field in self._fields)
        return user_R, item_R

    def of(self, batch: Batch) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_] | None]:
        user_B, item_B = (None if field is None else self._has_row(batch, *field) for field in self._fields)
        return user_B, item_B

    def _has_row(self, batch: Batch, name: str, table: str) -> npt.NDArray[np.bool_]:
        return np.asarray(self._store.peek(table, batch.ids[name].values).rows_N >= 0)


def _id_field(spec: FeatureSpec, source: str) -> tuple[str, str] | None:
    fields = [field for field in spec.sparse if field.source == source]
    return (fields[0].name, fields[0].table or fields[0].name) if fields else None
