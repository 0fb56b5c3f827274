"""Shown lists scored again from the log: which scores come out bit for bit, and why the others do not.

Shape suffixes: K shown items, T tasks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import InvalidValueError, RowsUnavailableError
from serving.experiments.assignment import POPULARITY
from serving.model.loaded_model import LoadedModel
from serving.ranking.task_score import TaskScore
from streaming.events.columns import IMPRESSION
from streaming.events.schema import Impression
from streaming.ingest.codec import to_events

Outcome = Literal[
    "equal", "last bits", "popularity", "no model", "version", "rows", "moved", "features", "clock", "unexplained"
]
LAST_BITS = 1e-6
"""Largest difference of a score that engines, processors and the number of candidates make."""
SETTLED = 10_000
"""Milliseconds after a change of rows within which a server may still have scored with those before."""


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A model that Redis holds, as a server loads it."""

    model: LoadedModel
    changed: int | None
    """When its rows changed last, in ms; None if that is not known. Those of a frozen copy when it was made."""

    def unchanged_since(self, time: int) -> bool:
        """Whether what a server scored with at this time (ms) is what Redis holds, as far as is known."""
        return self.changed is not None and time > self.changed + SETTLED


@dataclass(slots=True)
class Tally:
    """Lists of one outcome."""

    lists: int = 0
    largest: float = 0.0
    """Largest difference of a score, of those that were scored again."""
    example: str = ""
    """The first impression."""

    def add(self, other: Tally) -> None:
        """Count its lists, too."""
        self.lists += other.lists
        self.largest = max(self.largest, other.largest)
        self.example = self.example or other.example


@dataclass(frozen=True, slots=True)
class _ShownAt:
    """Where and when lists were shown."""

    model: str
    partition: int
    second: int


class RescoredLists:
    """Scores impressions again, with their features as logged and the rows and graphs of `models`, and counts outcomes.

    A list that a version of one name has ranked is scored with every model of that version, so with a frozen copy, too.
    `score` gives what a list was ranked by, `now` the time in ms.
    """

    def __init__(
        self, models: Sequence[PublishedModel], score: Callable[[Impression], TaskScore], now: Callable[[], int]
    ) -> None:
        self._score, self._now = score, now
        self._of_version: dict[str, list[PublishedModel]] = defaultdict(list)
        for one in models:
            self._of_version[one.model.artefact.version].append(one)
        self._tallies = defaultdict[Outcome, Tally](Tally)
        self._unexplained = defaultdict[_ShownAt, Tally](Tally)
        self._latest: dict[int, int] = {}
        """By partition, a second after which none of them was shown."""

    @property
    def tallies(self) -> dict[Outcome, Tally]:
        """By outcome, of which there are lists."""
        found = dict(self._tallies)
        for one in self._unexplained.values():
            found.setdefault("unexplained", Tally()).add(one)
        return found

    def changed(self, model: str) -> None:
        """Rows of a model have changed while its lists were scored: what is unexplained of them may be so by that."""
        self._explain("moved", lambda shown: shown.model == model)

    def take(self, events: pa.RecordBatch, since: int = 0, partition: int = 0) -> None:
        """Score the impressions among them since an event time (ms). Raises RowsUnavailableError without Redis.

        Events of a partition of the log come in its order.
        """
        chosen = pc.and_(pc.equal(events.column("kind"), IMPRESSION), pc.greater_equal(events.column("time"), since))
        for shown in to_events(events.filter(chosen)):
            assert isinstance(shown, Impression)
            outcome, difference = self._outcome(shown)
            at = _ShownAt(shown.model.partition("@")[0], partition, shown.time // 1000)
            self._order(at)
            if outcome == "unexplained":
                self._latest[partition] = max(at.second, self._latest.get(partition, 0))
            tally = self._unexplained[at] if outcome == "unexplained" else self._tallies[outcome]
            tally.add(Tally(1, difference, shown.id))

    def _order(self, at: _ShownAt) -> None:
        """A list that the log has before one that is far earlier was ranked by a server whose clock was ahead."""
        ahead = at.second + SETTLED // 1000
        if self._latest.get(at.partition, 0) > ahead:
            self._explain("clock", lambda shown: shown.partition == at.partition and shown.second > ahead)
            self._latest[at.partition] = ahead

    def _explain(self, outcome: Outcome, those: Callable[[_ShownAt], bool]) -> None:
        for shown in [shown for shown in self._unexplained if those(shown)]:
            self._tallies[outcome].add(self._unexplained.pop(shown))

    def _outcome(self, shown: Impression) -> tuple[Outcome, float]:
        """With the largest difference of a score, 0 of a list that cannot be scored."""
        name, _, version = shown.model.partition("@")
        if name == POPULARITY:
            return "popularity", 0.0
        if not version or not shown.scores:
            return "no model", 0.0
        found = [(one, self._difference(one.model, shown)) for one in self._of_version.get(version, ())]
        if not found:
            return "version", 0.0
        difference = min(away for _, away in found)
        if difference == math.inf:
            return "features", 0.0
        own = [one for one, _ in found if one.model.name == name]
        outcome = _reason(difference, shown, rows_stand=any(one.unchanged_since(shown.time) for one in own))
        if outcome == "unexplained" and shown.time > self._now() + SETTLED:
            outcome = "clock"
        return outcome, difference

    def _difference(self, model: LoadedModel, shown: Impression) -> float:
        """The largest one of a score from the logged; infinite where the log lacks features that the model reads."""
        if not model.item_features <= shown.item_features.keys():
            return math.inf
        try:
            encoded = model.encode(shown.user, shown.time, shown.features, shown.items, shown.item_features)
        except InvalidValueError:
            return math.inf
        embedded = model.embed(encoded)
        if not embedded.complete:
            raise RowsUnavailableError(f"Redis does not give rows of model {model.name!r}: is it running?")
        score, tasks = self._score(shown), model.artefact.tasks
        scores_K = score.of(np.asarray(model.score(encoded, embedded), np.float64), tasks)
        if np.array_equal(scores_K, np.array(shown.scores, np.float64)):
            return 0.0
        return float(np.abs(scores_K - shown.scores).max())


def _reason(difference: float, shown: Impression, *, rows_stand: bool) -> Outcome:
    """Why the scores of a list that was scored again are so far from the logged ones."""
    if difference == 0:
        return "equal"
    if "rows" in shown.degraded:
        return "rows"
    if difference <= LAST_BITS:
        return "last bits"
    return "unexplained" if rows_stand else "moved"


def explained(tallies: dict[Outcome, Tally]) -> Iterator[tuple[str, Tally]]:
    """What each outcome says of its lists, those that came out first."""
    yield from ((_MEANINGS[outcome], tallies[outcome]) for outcome in _MEANINGS if outcome in tallies)


_MEANINGS: dict[Outcome, str] = {
    "equal": "the same, bit for bit",
    "last bits": "the same but for the last bits: another engine or processor, or ONNX Runtime, whose last bits depend "
    "on candidates that the log does not have",
    "moved": "rows of the model have changed since, or its copy was made anew",
    "clock": "the clock of the server was ahead of others': whether rows have changed since cannot be told",
    "version": "Redis does not hold this version of the model any more",
    "rows": "Redis gave no rows when it was ranked",
    "features": "the log lacks features that the model reads, or has one of the wrong kind",
    "popularity": "ranked by popularity, not by a model",
    "no model": "not ranked by a server of this project: it names no version, or no scores",
    "unexplained": "not the same, though version and rows are: are [serving] score, engine and precision as they were?",
}
