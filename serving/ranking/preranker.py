"""A stage before the model: of many candidates those that are best by a cheap score go to the full model.

Shape suffixes: C candidates, K shown positions.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from serving.model.loaded_model import LoadedModel
from serving.ranking.exploration import Floats, Positions
from serving.ranking.query import Query
from serving.ranking.trace import Preranking

_logger = logging.getLogger(__name__)
_FIRST = 20
_LATEST = 200
"""Checked requests whose mean counts."""


class CheapScores(Protocol):
    """What orders candidates at a small part of the model's cost."""

    name: str
    """As answers and metrics have it."""

    def of(self, query: Query, model: LoadedModel) -> Floats | None:
        """A score [C] of each candidate, NaN where nothing is known of it; None if the model has none."""
        ...

    def learn(self, query: Query, model: LoadedModel, shares_C: Floats) -> None:
        """The model's scores, scaled to [0, 1], of the candidates of a query that it has scored."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """What goes to the model: `query`. If nothing was left out to check the scores, `kept` is what each would keep."""

    query: Query
    by: str = ""
    left_out: int = 0
    kept: Mapping[str, Positions] = field(default_factory=dict)

    def outcome(self, scores_C: Floats) -> Preranking:
        """What is said of it when the model has scored `query`."""
        if not self.kept:
            return Preranking(self.by, self.left_out)
        best_K = np.argsort(-scores_C, kind="stable")[: self.query.count]
        survived = {name: float(np.isin(best_K, kept_C).mean()) for name, kept_C in self.kept.items()}
        return Preranking(self.by, self.left_out, survived)


class Preranker:
    """Keeps the best `keep` candidates of a request, or as many as its arm says, or those to be shown, if that is more.

    So no item that would be shown is lost for want of places, and a list of all candidates is ranked by the model
    alone. A candidate without a score counts as the mean of the others: nothing speaks for or against it. Of a share
    `checked` of the requests, and of a model's first `_FIRST`, all candidates go to the model. These say which share of
    its first items each of `scores` would have kept: the best one decides for the others; before that is known, and
    where nothing is `checked`, the first one that has scores. They also show every item now and then.
    """

    def __init__(self, keep: int, checked: float, scores: Sequence[CheapScores]) -> None:
        self._keep, self._checked = keep, checked
        self._scores = {one.name: one for one in scores}
        self._survived: dict[str, dict[str, float]] = {}
        """By model and score, the running mean of what would have been kept."""
        self._checks: Counter[str] = Counter()

    def select(self, query: Query, model: LoadedModel, rng: np.random.Generator) -> Selection | None:
        """None if no candidate has to be left out. Candidates that stay keep their order."""
        most = self._keep if query.arm.prerank is None else query.arm.prerank
        keep = max(most, query.count)
        if not most or len(query.items) <= keep:
            return None
        drawn = rng.random() < self._checked
        if self._checked and (drawn or self._checks[model.name] < _FIRST):
            return Selection(query, kept=dict(self._kept(query, model, keep)))
        by, kept_C = next(self._kept(query, model, keep), ("", None))
        if kept_C is None:
            return Selection(query)
        return Selection(query.only(kept_C.tolist()), by, len(query.items) - keep)

    def learn(self, query: Query, model: LoadedModel, shares_C: Floats, found: Preranking | None) -> None:
        """Tell the cheap scores what the model said, and remember what they would have kept."""
        for one in self._scores.values():
            one.learn(query, model, shares_C)
        if found is None or not found.survived:
            return
        self._checks[model.name] += 1
        means = self._survived.setdefault(model.name, {})
        for name, survived in found.survived.items():
            before = means.get(name, survived)
            means[name] = before + (survived - before) / min(self._checks[model.name], _LATEST)

    def _kept(self, query: Query, model: LoadedModel, keep: int) -> Iterator[tuple[str, Positions]]:
        """What each score that there is would keep, the best score first; a faulty one costs time, not the ranking."""
        means = self._survived.get(model.name, {})
        for name in sorted(self._scores, key=lambda name: -means.get(name, -1.0)):
            try:
                scores_C = self._scores[name].of(query, model)
            except Exception as error:
                _logger.warning("%s cannot score for model %r: %s", name, model.name, error)
                continue
            if scores_C is not None:
                yield name, _best(scores_C, keep)


def _best(scores_C: Floats, keep: int) -> Positions:
    """The places of the best candidates, in their order."""
    known_C = np.isfinite(scores_C)
    scores_C = np.where(known_C, scores_C, scores_C[known_C].mean() if known_C.any() else 0.0)
    return np.sort(np.argsort(-scores_C, kind="stable")[:keep])
