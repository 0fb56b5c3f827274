"""Items that complete the sets which are mined from what is clicked together."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from itertools import islice

from serving.cache.visited_items import Neighbours, VisitedItems
from serving.retrieval.basket_items import BASKET
from serving.retrieval.retriever import Candidates, RetrievalQuery

MOST = 100
"""Most sets read for a request: those of the last items of the basket."""


class MinedSets:
    r"""The missing items of the sets around the items of the query's basket, best set first, each with all it lacks.

    An item and its neighbours are a set. How much of it the basket B has, by the affinities a of the neighbours:

    score(i | B) = (1 + sum_{j in B} a_ij) / (1 + sum_j a_ij)

    That is 1 for a set that the basket completes. An item has the score of its best set; within a set, items of greater
    affinity come first. So a basket with two items of a set asks for its third one before it asks for what goes with
    either of them alone.
    """

    def __init__(self, visited: VisitedItems) -> None:
        self._visited = visited

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        basket = dict.fromkeys(query.basket)
        sets = self._visited.neighbours([*basket][-MOST:])
        ranked = sorted((-_score(near, basket), item) for item, near in sets.items() if near)
        found: dict[str, float] = {}
        for score, center in ranked:
            for item, _ in sets[center]:
                if item not in basket:
                    found.setdefault(item, -score)
        ids = list(islice((item for item in found if item not in exclude), count))
        return Candidates(ids, [BASKET] * len(ids), [found[item] for item in ids])


def _score(near: Neighbours, basket: dict[str, None]) -> float:
    """The share of a set that the basket has."""
    return (1 + sum(affinity for item, affinity in near if item in basket)) / (1 + sum(one for _, one in near))
