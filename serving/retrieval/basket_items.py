"""Items that complete the sets which the items of a basket belong to, such as what a recipe still needs."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Set as AbstractSet
from itertools import islice

from serving.cache.entity_cache import EntityFeatures
from serving.cache.item_set_members import ItemSetMembers
from serving.retrieval.retriever import Candidates, RetrievalQuery
from streaming.item_sets import Members, set_names

BASKET = "basket"
_SETS = 100
"""Most sets read for a request: those that the basket tells best."""


class BasketItems:
    r"""The missing items of the sets that the query's basket begins, best set first, each with all it lacks.

    score(S | B) = sum_{i in B and S} w_i^2 / sqrt(sum_{i in B} w_i^2 sum_{i in S} w_i^2),  w_i = 1 / n(i)

    n(i) is the number of sets that item i is in, so w_i is the chance to name the set by the item alone: salt, which is
    in every recipe, tells next to nothing, and saffron nearly all. The score is the cosine of basket and set as vectors
    of these weights (the vector space model of Salton and Buckley, 1988), 1 for the set that the basket is. An item has
    the score of its best set. Within a set, items that tell it best come first, and equal ones by name. Sets are the
    values of the items' feature `feature`.
    """

    def __init__(self, feature: str, entities: EntityFeatures, members: ItemSetMembers) -> None:
        self._feature, self._entities, self._members = feature, entities, members

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        basket = list(dict.fromkeys(query.basket))
        if not basket or not self._feature:
            return Candidates()
        features, _ = self._entities.items(basket)
        sets = {item: set_names(one, self._feature) for item, one in zip(basket, features, strict=True)}
        told = _told(sets)
        names = heapq.nsmallest(_SETS, told, key=lambda name: (-told[name], name))
        length = math.sqrt(sum(1 / len(of_item) ** 2 for of_item in sets.values() if of_item))
        ranked = []
        for name, members in self._members.read(names).items():
            missing = [(item, n) for item, n in members if item not in sets]
            ranked.append((-_cosine(told[name], missing, length), name, missing))
        found: dict[str, float] = {}
        for score, _, missing in sorted(ranked):
            for item, _ in missing:
                found.setdefault(item, -score)
        ids = list(islice((item for item in found if item not in exclude), count))
        return Candidates(ids, [BASKET] * len(ids), [found[item] for item in ids])


def _told(sets: dict[str, list[str]]) -> dict[str, float]:
    """The sum of w^2 of the basket's items in each set."""
    told: defaultdict[str, float] = defaultdict(float)
    for names in sets.values():
        for name in names:
            told[name] += 1 / len(names) ** 2
    return told


def _cosine(told: float, missing: Members, length: float) -> float:
    """Of a basket of this length, and a set that has items of it with this sum of w^2, and others that are missing."""
    return told / (length * math.sqrt(told + sum(1 / n**2 for _, n in missing)))
