"""Lists that are varied: an item is worth less where others like it are above it.

Shape suffixes: C candidates, K shown positions, F categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.errors import InvalidValueError
from serving.ranking.exploration import Exploration, Floats, Positions, log_odds
from serving.ranking.vendi import SparseVectors, Variety, vendi_score
from streaming.events.schema import Value

ITEM = "item."
"""What the name of an item's feature begins with, as in the fields of a model."""


@dataclass(frozen=True, slots=True)
class Diversity:
    """What makes two items alike, and how much variety is worth.

    Items are alike by the values of the feature `by` that they share, such as genres; those without a value are alike.
    An item is worth its log odds plus `weight` times what it adds to the logarithm of the list's Vendi score of order
    2. So at a weight of 1 an item of a new kind is put above one like all the items above it whose odds are up to twice
    (at the second position) as high. The first `positions` are chosen so, the others as without it.
    """

    by: str
    weight: float = 0.0
    positions: int = 50

    def __post_init__(self) -> None:
        if not self.by.removeprefix(ITEM) or not self.by.startswith(ITEM):
            raise InvalidValueError(f"{self.by!r} is no feature of items: write it as in fields, such as item.genres")

    def weighing(self, weight: float | None) -> Diversity:
        """The same with another weight, if there is one."""
        return self if weight is None else replace(self, weight=weight)

    @property
    def feature(self) -> str:
        """The name that events have it under."""
        return self.by.removeprefix(ITEM)

    def order(
        self, policy: Exploration, scores_C: Floats, values_C: Sequence[Value], limit: int, rng: np.random.Generator
    ) -> tuple[Positions, Floats]:
        """As `Exploration.order`, of candidates with these values of the feature, by scores [C] or [D, C].

        The propensity of a position is that of its item given the items above it, and exact.
        """
        if not self.weight:
            return policy.order(scores_C, limit, rng)
        variety = Variety(categories(values_C))
        worth_C = log_odds(scores_C)
        chosen, chances = list[int](), list[float]()
        for _ in range(min(limit, self.positions, scores_C.shape[-1])):
            candidate, chance = policy.draw(worth_C + self.weight * variety.gains(), rng)
            variety.add(candidate)
            worth_C[..., candidate] = -np.inf
            chosen.append(candidate)
            chances.append(chance)
        rest_R = np.flatnonzero(np.atleast_2d(worth_C)[0] > -np.inf)
        order_K, chances_K = policy.order(scores_C[..., rest_R], limit - len(chosen), rng)
        return np.concatenate([np.array(chosen, np.int64), rest_R[order_K]]), np.concatenate([chances, chances_K])

    def score(self, values_K: Sequence[Value]) -> float:
        """The Vendi score (of order 1) of the first `positions` of a list: how many kinds of items it shows."""
        return vendi_score(categories(values_K[: self.positions]).dense())


def categories(values: Sequence[Value]) -> SparseVectors:
    """A unit vector [C, F] for each value: equal shares of its elements, which are categories.

    >>> categories(["a", ["a", "b"], None]).dense().round(2)
    array([[1.  , 0.  , 0.  ],
           [0.71, 0.71, 0.  ],
           [0.  , 0.  , 1.  ]])
    """
    known: dict[object, int] = {}
    columns, counts = list[int](), list[int]()
    for value in values:
        elements = (dict.fromkeys(value) if isinstance(value, list) else (value,)) or (None,)
        columns += [known.setdefault(element, len(known)) for element in elements]
        counts.append(len(elements))
    counts_C = np.array(counts, np.int64)
    rows_E = np.repeat(np.arange(len(counts_C)), counts_C)
    shares_E = 1 / np.sqrt(counts_C, dtype=np.float64)[rows_E]
    return SparseVectors(rows_E, np.array(columns, np.int64), shares_E, (len(values), len(known)))
