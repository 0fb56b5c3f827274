"""One request to rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from serving.experiments.assignment import Arm
from streaming.events.schema import Features, Value

if TYPE_CHECKING:
    from serving.ranking.boost import Boost

ItemFeatures = dict[str, list[Value]]


@dataclass(frozen=True, slots=True)
class Query:
    """One request to rank. `item_features` has one value per item, by name; `time` is event time in ms."""

    user: str
    items: Sequence[str]
    time: int
    features: Features
    item_features: ItemFeatures
    count: int
    experiment: str
    arm: Arm
    impression: str
    explain: bool = False
    """Whether the ranking is to say what the model attended to."""
    boosts: Sequence[Boost] = ()
    """Beside those of the settings."""

    def only(self, places: Sequence[int]) -> Self:
        """The same over the candidates at these places alone, in this order."""
        items, columns = [self.items[place] for place in places], columns_of(self.item_features, places)
        return replace(self, items=items, item_features=columns)


def columns_of(columns: ItemFeatures, places: Sequence[int]) -> ItemFeatures:
    """The values of the candidates at these places.

    >>> columns_of({"price": [1, 2, 3]}, [2, 0])
    {'price': [3, 1]}
    """
    return {name: [values[place] for place in places] for name, values in columns.items()}
