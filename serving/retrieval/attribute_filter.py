"""Candidates by the values of their features."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from serving.cache.entity_cache import EntityFeatures
from serving.retrieval.item_group import equals
from serving.retrieval.retriever import Candidates, RetrievalQuery, Retriever
from streaming.events.schema import Features

_MORE = 4
"""How many times as many candidates are looked through first, and again if too few of them fit."""
_MOST = 8_000


class AttributeFilter:
    """The candidates of `rest` whose latest features have the values of the query's `where`.

    A list has a value that it contains. An item whose features are unknown does not fit. At most 8,000 candidates are
    looked through.
    """

    def __init__(self, rest: Retriever, entities: EntityFeatures) -> None:
        self._rest, self._entities = rest, entities

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        if not query.where:
            return self._rest.retrieve(query, count, exclude)
        asked = count
        while True:
            asked = min(_MORE * asked, _MOST)
            found = self._rest.retrieve(query, asked, exclude)
            features, _ = self._entities.items(found.ids)
            fits = [number for number, one in enumerate(features) if _has(one, query.where)]
            if len(fits) >= count or len(found.ids) < asked or asked == _MOST:
                return _taken(found, fits[:count])


def _has(features: Features, where: Features) -> bool:
    return all(equals(features.get(name), value) for name, value in where.items())


def _taken(found: Candidates, places: list[int]) -> Candidates:
    columns = ([column[n] for n in places] for column in (found.ids, found.source, found.score))
    return Candidates(*columns)  # type: ignore[arg-type]
