"""Orders that servers vary, as a policy whose chances are known. Shape suffixes: L lists, K positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.off_policy.policies import VariedPolicy
from serving.ranking.diversity import Diversity, categories
from serving.ranking.vendi import Floats, Variety
from streaming.events.schema import Value


@dataclass(frozen=True, slots=True)
class VariedOrders:
    """As `[serving]` has them: by the feature, weight and positions of `diversity`, drawn at this temperature."""

    diversity: Diversity
    temperature: float

    def policy(self, values: Sequence[Sequence[Value]]) -> VariedPolicy:
        """Of lists of one length, with the values of the feature in the order in which they were shown."""
        return VariedPolicy(self.temperature, np.stack([self._gains(one) for one in values]))

    def _gains(self, values_K: Sequence[Value]) -> Floats:
        """What each item would add [K, K] at each position, below the items that were shown above it."""
        variety, gains_KK = Variety(categories(values_K)), np.zeros((len(values_K), len(values_K)))
        for place in range(min(len(values_K), self.diversity.positions)):
            gains_KK[place] = self.diversity.weight * variety.gains()
            variety.add(place)
        return gains_KK
