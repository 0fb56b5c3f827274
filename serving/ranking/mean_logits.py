"""A cheap score for any model: what it said of each item so far.

Shape suffixes: C candidates, N items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.model.loaded_model import LoadedModel
from serving.ranking.exploration import Floats, Positions, log_odds
from serving.ranking.query import Query

_LATEST = 100
"""The mean of an item follows about its last hundred scores, because the model learns."""
_ENOUGH = 0.5
"""Share of the candidates that must be known; else the model scores all, and all are known afterwards."""


class MeanLogits:
    """The running mean of an item's log odds over the requests that the model scored in this process.

    It is the same for all users. Nothing is stored: after a start the model scores all candidates until most are known,
    which takes a few requests, and servers differ only by which requests they had. One mean for each model and weights
    of tasks; of more than `capacity` items all are forgotten.

    >>> MeanLogits().name
    'mean_logit'
    """

    name = "mean_logit"

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._capacity = capacity
        self._means: dict[tuple[object, ...], _Means] = {}

    def of(self, query: Query, model: LoadedModel) -> Floats | None:
        """As `CheapScores.of`; None while too few candidates are known."""
        known = self._means.get(_key(query, model))
        if known is None:
            return None
        means_C = known.of(query.items)
        return means_C if np.isfinite(means_C).mean() >= _ENOUGH else None

    def learn(self, query: Query, model: LoadedModel, shares_C: Floats) -> None:
        """As `CheapScores.learn`."""
        key = _key(query, model)
        if key not in self._means or len(self._means[key]) + len(query.items) > self._capacity:
            self._means[key] = _Means()
        self._means[key].add(query.items, log_odds(shares_C))


class _Means:
    """Running means by item."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._means_N = np.full(1024, np.nan)
        self._counts_N = np.zeros(1024, np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def of(self, items: Sequence[str]) -> Floats:
        """NaN for an item that is not known."""
        places = np.array([self._places.get(item, -1) for item in items], np.int64)
        return np.where(places >= 0, self._means_N[places], np.nan)

    def add(self, items: Sequence[str], values_C: Floats) -> None:
        """Items differ."""
        places_C = self._taken(items)
        self._counts_N[places_C] += 1
        before_C = np.nan_to_num(self._means_N[places_C])
        self._means_N[places_C] = before_C + (values_C - before_C) / self._counts_N[places_C].clip(max=_LATEST)

    def _taken(self, items: Sequence[str]) -> Positions:
        """The places of items, new ones where they had none."""
        places = np.array([self._places.setdefault(item, len(self._places)) for item in items], np.int64)
        while len(self._places) > len(self._means_N):
            self._means_N = np.concatenate([self._means_N, np.full_like(self._means_N, np.nan)])
            self._counts_N = np.concatenate([self._counts_N, np.zeros_like(self._counts_N)])
        return places


def _key(query: Query, model: LoadedModel) -> tuple[object, ...]:
    return model.name, *sorted(query.arm.score.items())
