"""The order in which a scored list is shown, and its probability, which off-policy evaluation needs.

Propensities are logged per position. Under `Greedy` the order is certain: 1.0 everywhere. Under `PlackettLuce`,
`EpsilonGreedy` and `Thompson` (`serving.ranking.thompson`) the propensity of a position is the probability of its item
given the items above it, so the first is the exact probability of that item at that position, and the product over the
list is the probability of the whole list.

Shape suffixes: C candidates, K shown positions.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

_SMALLEST = 1e-7
"""Scores, which are probabilities, are clipped to [this, 1 - this], which keeps utilities finite."""

_SMALLEST_PROPENSITY = 1e-30
"""The least logged propensity: off-policy estimates divide by it, and rounding must not make it 0."""


LEAST_TEMPERATURE = 1e-6
"""Of `PlackettLuce`: below, it is `Greedy` but for ties, and sums of utilities lose what tells them apart."""


class Exploration(Protocol):
    """A policy that orders candidates by their scores [C], or by several draws of them [D, C]."""

    def order(self, scores_C: Floats, limit: int, rng: np.random.Generator) -> tuple[Positions, Floats]:
        """Indices of the candidates to show, best first, at most `limit`, and the propensity of each position."""
        ...

    def draw(self, utilities_C: Floats, rng: np.random.Generator) -> tuple[int, float]:
        """One candidate by its log odds, which are -inf for those that cannot be drawn, and its propensity."""
        ...


def log_odds(scores: Floats) -> Floats:
    """Of scores, which are probabilities; finite for any.

    >>> log_odds(np.array([0.5, 0.75])).round(3)
    array([0.   , 1.099])
    """
    clipped = np.clip(np.asarray(scores, np.float64), _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(clipped / (1 - clipped)))


class Greedy:
    """By descending score; ties keep their order.

    >>> Greedy().order(np.array([0.1, 0.9, 0.5]), 2, np.random.default_rng(0))
    (array([1, 2]), array([1., 1.]))
    """

    def order(self, scores_C: Floats, limit: int, rng: np.random.Generator) -> tuple[Positions, Floats]:  # noqa: ARG002
        order_K = np.argsort(-scores_C, kind="stable")[:limit]
        return order_K, np.ones(len(order_K))

    def draw(self, utilities_C: Floats, rng: np.random.Generator) -> tuple[int, float]:  # noqa: ARG002
        return int(np.argmax(utilities_C)), 1.0


class PlackettLuce:
    """Draws items in turn, each with probability proportional to odds(score) ** (1 / temperature).

    Drawn at once by the Gumbel trick: sorting utilities plus Gumbel noise gives a Plackett-Luce order (Yellott 1977).
    Temperature near 0 is `Greedy`; high temperature is a random order.
    """

    def __init__(self, temperature: float) -> None:
        if not LEAST_TEMPERATURE <= temperature < math.inf:
            raise InvalidValueError(
                f"temperature is {temperature}: it must be finite and at least {LEAST_TEMPERATURE:g}; for no "
                "exploration use Greedy"
            )
        self._temperature = temperature

    def order(self, scores_C: Floats, limit: int, rng: np.random.Generator) -> tuple[Positions, Floats]:
        utilities_C = log_odds(scores_C) / self._temperature
        order_C = np.argsort(-(utilities_C + rng.gumbel(size=len(utilities_C))), kind="stable")
        drawn_C = utilities_C[order_C]
        left_C = np.logaddexp.accumulate(drawn_C[::-1])[::-1]  # log of the sum over this and all later items
        return order_C[:limit], np.clip(np.exp(drawn_C - left_C)[:limit], _SMALLEST_PROPENSITY, 1.0)

    def draw(self, utilities_C: Floats, rng: np.random.Generator) -> tuple[int, float]:
        utilities_C = utilities_C / self._temperature
        drawn = int(np.argmax(utilities_C + rng.gumbel(size=len(utilities_C))))
        chance = math.exp(utilities_C[drawn] - np.logaddexp.reduce(utilities_C))
        return drawn, min(max(chance, _SMALLEST_PROPENSITY), 1.0)


class EpsilonGreedy:
    """Fills each position with the best item that is left, or, with probability `epsilon`, with any of them.

    >>> EpsilonGreedy(0.3).order(np.array([0.1, 0.9, 0.5]), 2, np.random.default_rng(0))
    (array([1, 2]), array([0.8 , 0.85]))
    """

    def __init__(self, epsilon: float) -> None:
        if not 0 < epsilon <= 1:
            raise InvalidValueError(f"epsilon is {epsilon}: it must be above 0 and at most 1; without use Greedy")
        self._epsilon = epsilon

    def order(self, scores_C: Floats, limit: int, rng: np.random.Generator) -> tuple[Positions, Floats]:
        left, chances = np.argsort(-scores_C, kind="stable").tolist(), []
        chosen: list[int] = []
        for _ in range(min(limit, len(left))):
            place, chance = self._draw(len(left), rng)
            chosen.append(left.pop(place))
            chances.append(chance)
        return np.array(chosen, np.int64), np.array(chances)

    def draw(self, utilities_C: Floats, rng: np.random.Generator) -> tuple[int, float]:
        left = np.flatnonzero(np.isfinite(utilities_C))
        best_first = left[np.argsort(-utilities_C[left], kind="stable")]
        place, chance = self._draw(len(left), rng)
        return int(best_first[place]), chance

    def _draw(self, left: int, rng: np.random.Generator) -> tuple[int, float]:
        """The place of one of `left` items, the best of which is at 0, and its propensity."""
        place = int(rng.integers(left)) if rng.random() < self._epsilon else 0
        return place, self._epsilon / left + (0.0 if place else 1 - self._epsilon)
