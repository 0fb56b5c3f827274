"""Items by what the user clicked last."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Set as AbstractSet

from serving.cache.visited_items import VisitedItems
from serving.retrieval.retriever import Candidates, RetrievalQuery

ITEM_TO_ITEM, HISTORY = "item_to_item", "history"


class ItemToItem:
    """Items clicked together with those that the user clicked last; the score is the sum of the affinities.

    The user's own items are left out: those are `HistoryItems`. Equal scores are ordered by name.
    """

    def __init__(self, visited: VisitedItems) -> None:
        self._visited = visited

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        clicked = self._visited.read(query.user)
        score: defaultdict[str, float] = defaultdict(float)
        for neighbours in clicked.values():
            for item, affinity in neighbours:
                score[item] += affinity
        found = (item for item in score if item not in exclude and item not in clicked)
        ids = heapq.nsmallest(count, found, key=lambda item: (-score[item], item))
        return Candidates(ids, [ITEM_TO_ITEM] * len(ids), [score[item] for item in ids])


class HistoryItems:
    """Items that the user clicked last, the latest first; the score falls from 1 with the place."""

    def __init__(self, visited: VisitedItems) -> None:
        self._visited = visited

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        ids = [item for item in self._visited.read(query.user) if item not in exclude][:count]
        return Candidates(ids, [HISTORY] * len(ids), [1 / place for place in range(1, len(ids) + 1)])
