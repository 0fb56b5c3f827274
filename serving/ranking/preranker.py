"""A stage before the model: of many candidates those that are best by a cheap score go to the full model.

Shape suffixes: C candidates, K shown positions.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serving.model.loaded_model import LoadedModel
from serving.ranking.exploration import Floats, Positions
from serving.ranking.query import Query
from serving.ranking.trace import Preranking

_logger = logging.getLogger(__name__)


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
    """What goes to the model: `query`. If that is `whole`, `kept_C` is what would have been left of it."""

    query: Query
    by: str
    kept_C: Positions
    left_out: int
    whole: bool

    def outcome(self, scores_C: Floats) -> Preranking:
        """What is said of it when the model has scored `query`."""
        if not self.whole:
            return Preranking(self.by, self.left_out)
        best_K = np.argsort(-scores_C, kind="stable")[: self.query.count]
        return Preranking(self.by, survived=float(np.isin(best_K, self.kept_C).mean()))


class Preranker:
    """Keeps the best `keep` candidates of a request, or as many as its arm says, or those to be shown, if that is more.

    So no item that would be shown is lost for want of places, and a list of all candidates is ranked by the model
    alone. The first of `scores` that a model has decides. A candidate without a score counts as the mean of the others:
    nothing speaks for or against it. Of a share `checked` of the requests all candidates go to the model, which says
    what is lost by the others, and shows every item now and then.
    """

    def __init__(self, keep: int, checked: float, scores: Sequence[CheapScores]) -> None:
        self._keep, self._checked, self._scores = keep, checked, scores

    def select(self, query: Query, model: LoadedModel, rng: np.random.Generator) -> Selection | None:
        """None if no candidate has to be left out. Candidates that stay keep their order."""
        most = self._keep if query.arm.prerank is None else query.arm.prerank
        keep = max(most, query.count)
        if not most or len(query.items) <= keep:
            return None
        by, scores_C = self._scored(query, model)
        if scores_C is None:
            return Selection(query, "", np.arange(len(query.items)), 0, whole=False)
        known_C = np.isfinite(scores_C)
        scores_C = np.where(known_C, scores_C, scores_C[known_C].mean() if known_C.any() else 0.0)
        kept_C = np.sort(np.argsort(-scores_C, kind="stable")[:keep])
        if rng.random() < self._checked:
            return Selection(query, by, kept_C, 0, whole=True)
        return Selection(query.only(kept_C.tolist()), by, kept_C, len(query.items) - keep, whole=False)

    def learn(self, query: Query, model: LoadedModel, shares_C: Floats) -> None:
        """Tell the cheap scores what the model said."""
        for one in self._scores:
            one.learn(query, model, shares_C)

    def _scored(self, query: Query, model: LoadedModel) -> tuple[str, Floats | None]:
        """The name of the score and the scores; a faulty one costs time, not the model's ranking."""
        for one in self._scores:
            try:
                scores_C = one.of(query, model)
            except Exception as error:
                _logger.warning("%s cannot score for model %r: %s", one.name, model.name, error)
                continue
            if scores_C is not None:
                return one.name, scores_C
        return "", None
