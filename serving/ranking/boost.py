"""Scores that rules of one's own raise or lower, beside what the model says.

Shape suffix: C candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from serving.cache.entity_cache import EntityFeatures
from serving.item_attribute import ItemAttribute
from serving.limits import MOST_BOOST
from serving.ranking.exploration import Floats
from serving.ranking.query import Query
from streaming.events.schema import Value


class Boost(ItemAttribute):
    """Makes the scores of the items with the attribute `times` as large, and `plus` larger."""

    times: Annotated[float, Field(ge=0, le=MOST_BOOST)] = 1.0
    plus: Annotated[float, Field(ge=-MOST_BOOST, le=MOST_BOOST)] = 0.0

    @classmethod
    def asked(cls, boosts: Iterable[object]) -> tuple[Self, ...]:
        """Those of a request, which have these fields."""
        return tuple(cls.model_validate(one, from_attributes=True) for one in boosts)

    @property
    def changes(self) -> bool:
        """Whether it has an effect."""
        return self.times != 1 or self.plus != 0


class Boosts:
    """Those of the settings, and of each request beside them, on the latest features in `entities`.

    All that an item has apply, the products first, so their order does not matter. A product counts `MOST_BOOST` at
    most, so that scores stay numbers.
    """

    def __init__(self, configured: Sequence[Boost], entities: EntityFeatures) -> None:
        self._configured, self._entities = configured, entities

    def applied(self, query: Query, scores_C: Floats) -> Floats:
        """The boosted scores [C] of the query's items; `scores_C` itself if there are no boosts."""
        boosts = [*self._configured, *query.boosts]
        if not boosts:
            return scores_C
        times_C, plus_C = np.ones(len(scores_C)), np.zeros(len(scores_C))
        for boost, values_C in zip(boosts, self._values(query, boosts), strict=True):
            has_C = np.fromiter(map(boost.is_in, values_C), np.bool_, len(scores_C))
            times_C[has_C] *= boost.times
            plus_C[has_C] += boost.plus
        boosted_C: Floats = scores_C * np.minimum(times_C, MOST_BOOST) + plus_C
        return boosted_C

    def _values(self, query: Query, boosts: Sequence[Boost]) -> list[Sequence[Value]]:
        """Of each boost's feature, by candidate: the request's where given, else the latest known."""
        given = query.item_features
        known = all(boost.name in given for boost in boosts)
        latest = [] if known else self._entities.items(query.items)[0]
        return [
            given[boost.name] if boost.name in given else [features.get(boost.name) for features in latest]
            for boost in boosts
        ]
