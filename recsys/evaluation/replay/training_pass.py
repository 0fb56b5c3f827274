"""One training pass over a log that evaluates every arm: at each refresh, score what comes next, then train on it.

Shape suffixes: R rows to score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from recsys.evaluation.replay.arms import Refresh, ReplayArm, schedule
from recsys.evaluation.replay.embedded_ids import EmbeddedIds, Flags
from recsys.evaluation.replay.scored_rows import ScoredRows

if TYPE_CHECKING:
    from recsys.training.learner import Learner
    from streaming.encode.batch import TrainingBatch

CHUNK = 256
"""Rows scored together. From the rows of a refresh on all chunks are full, whatever is due, since how a sum is rounded
may depend on the shape of a batch: so a score depends on weights and log alone, not on the arms that are evaluated."""


class PolledBatches(Protocol):
    """What is learned from, such as a `Feed`, or a `BatchFeed`."""

    def poll(self, *, until: int) -> Iterator[TrainingBatch]: ...

    def take_erased(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one arm, and whether each row's user and item were known when it scored them."""

    arm: ReplayArm
    scores_R: npt.NDArray[np.float32]
    known_R: Flags

    def take(self, places_R: npt.NDArray[np.int64]) -> Scored:
        """Those of the rows with these numbers."""
        known_R = {kind: flags_R[places_R] for kind, flags_R in self.known_R.items()}
        return Scored(self.arm, self.scores_R[places_R], known_R)

    def fill(self, low: int, stop: int, scores_B: npt.NDArray[np.float32], known_B: Flags) -> None:
        """Copy the rows up to `stop` of a chunk that starts at row `low`."""
        count = min(len(scores_B), max(stop - low, 0))
        self.scores_R[low : low + count] = scores_B[:count]
        for kind, flags_B in known_B.items():
            self.known_R[kind][low : low + count] = flags_B[:count]


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is: event time reached, examples learned from, rows scored."""

    time: int
    trained: int
    scored: int


class Replay:
    """Algorithm 1 of Monolith (section 3.2.2), with delayed labels and many refresh rules in one pass.

    Training sees an example when the `batches` have it, so never before its label was known; an example that is still
    waiting at a refresh is learned after it. What is scored does not change what is learned: an arm's scores are the
    same whichever other arms are evaluated beside it.
    """

    def __init__(self, learner: Learner, batches: PolledBatches, rows: ScoredRows, arms: Sequence[ReplayArm]):
        self._learner = learner
        self._batches = batches
        self._rows = rows
        self._known = EmbeddedIds(learner.spec, learner.store)
        count = len(rows)
        self._scored = [Scored(arm, np.zeros(count, np.float32), self._known.nothing(count)) for arm in arms]
        self.trained = 0

    def run(self, until: int, report: Callable[[ReplayProgress], None] = lambda _progress: None) -> list[Scored]:
        """Evaluate all arms on the rows before `until` (event time, ms)."""
        done = 0
        for refresh in schedule([scored.arm for scored in self._scored], until):
            self._train(refresh.time)
            done += self._score(refresh)
            report(ReplayProgress(refresh.time, self.trained, done))
        return self._scored

    def _train(self, until: int) -> None:
        """Learn from every example whose label is known by `until`, as far as full batches go."""
        for batch in self._batches.poll(until=until):
            self._learner.forget(self._batches.take_erased())
            self._learner.step(batch, scored=False)  # rows are scored as of a refresh, not as they are learned
            self.trained += int(batch.counted_B.sum())

    def _score(self, refresh: Refresh) -> int:
        """Score each row once, up to the latest end; arms that end earlier take their part of the same scores."""
        start = self._rows.before(refresh.time)
        stops = {number: self._rows.before(end) for number, end in refresh.due}
        for low in range(start, max(stops.values()), CHUNK):
            batch = self._rows.slice(low, min(low + CHUNK, len(self._rows)))
            scores_B, known_B = self._learner.score(batch), self._known.of(batch)
            for number, stop in stops.items():
                self._scored[number].fill(low, stop, scores_B, known_B)
        return sum(stop - start for stop in stops.values())
