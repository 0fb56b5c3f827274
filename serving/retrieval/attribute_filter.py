"""Candidates by the values of their features."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from serving.cache.entity_cache import EntityFeatures
from serving.item_attribute import equals
from serving.retrieval.available_times import ALWAYS, AvailableTimes
from serving.retrieval.retriever import Candidates, RetrievalQuery, Retriever
from streaming.events.schema import Features

_MORE = 4
"""How many times as many candidates are looked through where some are expected not to fit, or too few did."""
_MOST = 8_000


class AttributeFilter:
    """The candidates of `rest` that are available and whose latest features have the values of the query's `where`.

    A list has a value that it contains. An item whose features are unknown does not fit a `where`, and is available. At
    most 8,000 candidates are looked through.
    """

    def __init__(self, rest: Retriever, entities: EntityFeatures, times: AvailableTimes = ALWAYS) -> None:
        self._rest, self._entities, self._times = rest, entities, times

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        if not query.where and not self._times.bounded:
            return self._rest.retrieve(query, count, exclude)
        asked = min(_MORE * count if query.where else count, _MOST)
        while True:
            found = self._rest.retrieve(query, asked, exclude)
            features, _ = self._entities.items(found.ids)
            fits = [number for number, one in enumerate(features) if self._fits(one, query)]
            if len(fits) >= count or len(found.ids) < asked or asked == _MOST:
                return _taken(found, fits[:count])
            asked = min(_MORE * asked, _MOST)

    def _fits(self, features: Features, query: RetrievalQuery) -> bool:
        if not self._times.at(query.time, features):
            return False
        return all(equals(features.get(name), value) for name, value in query.where.items())


def _taken(found: Candidates, places: list[int]) -> Candidates:
    columns = ([column[n] for n in places] for column in (found.ids, found.source, found.score))
    return Candidates(*columns)  # type: ignore[arg-type]
