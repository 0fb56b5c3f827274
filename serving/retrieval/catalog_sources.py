"""Items of the published catalogue, the same for every query."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import islice

from serving.ranking.popularity import CatalogSnapshot
from serving.retrieval.retriever import Candidates, RetrievalQuery

POPULAR, RECENT = "popular", "recent"


class PopularItems:
    """The most popular items; the score is the popularity."""

    def __init__(self, catalog: CatalogSnapshot) -> None:
        self._catalog = catalog

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:  # noqa: ARG002
        popular = self._catalog.popular
        ids = _first(popular, count, exclude)
        return Candidates(ids, [POPULAR] * len(ids), [popular[item] for item in ids])


class RecentItems:
    """The items that came last; the score falls from 1 with the place."""

    def __init__(self, catalog: CatalogSnapshot) -> None:
        self._catalog = catalog

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:  # noqa: ARG002
        ids = _first(self._catalog.recent, count, exclude)
        return Candidates(ids, [RECENT] * len(ids), [1 / place for place in range(1, len(ids) + 1)])


def _first(items: Iterable[str], count: int, exclude: AbstractSet[str]) -> list[str]:
    return list(islice((item for item in items if item not in exclude), count))
