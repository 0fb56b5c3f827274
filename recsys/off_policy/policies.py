"""Policies that order scored items, as the chances that they give to a list that another policy has drawn.

They draw as `serving.ranking.exploration` does. Shape suffixes: L lists, K positions.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError

Floats = npt.NDArray[np.float64]

_SMALLEST = 1e-7
"""Scores, which are probabilities, are clipped to [this, 1 - this], as serving does."""


class Policy(Protocol):
    """An order at random of the items of a list, each drawn given those above it.

    `scores_LK` are the policy's scores of the items, and `values_LK` any numbers of them, in the order of the log.
    """

    def chances(self, scores_LK: Floats) -> Floats:
        """The chance [L, K] of each item to be drawn for its position, given that those above it were."""
        ...

    def expected(self, scores_LK: Floats, values_LK: Floats) -> Floats:
        """The expected value [L, K] of what is drawn for each position, given that those above it were."""
        ...


class PlackettLucePolicy:
    """Draws an item with a chance proportional to odds(score) ** (1 / temperature).

    >>> PlackettLucePolicy(1.0).chances(np.array([[0.5, 0.75, 0.5]])).round(2)
    array([[0.2 , 0.75, 1.  ]])
    """

    def __init__(self, temperature: float) -> None:
        if not temperature > 0:
            raise InvalidValueError(f"temperature is {temperature}: it must be positive")
        self._temperature = temperature

    def chances(self, scores_LK: Floats) -> Floats:
        odds_LK = self._odds(scores_LK)
        return np.asarray(odds_LK / _from_here_on(odds_LK))

    def expected(self, scores_LK: Floats, values_LK: Floats) -> Floats:
        odds_LK = self._odds(scores_LK)
        return np.asarray(_from_here_on(odds_LK * values_LK) / _from_here_on(odds_LK))

    def _odds(self, scores_LK: Floats) -> Floats:
        """Up to a factor of each list, such that the largest is 1; never 0, so that no sum of them is."""
        p_LK = np.clip(np.asarray(scores_LK, np.float64), _SMALLEST, 1 - _SMALLEST)
        utilities_LK = np.log(p_LK / (1 - p_LK)) / self._temperature
        return np.asarray(np.exp(np.maximum(utilities_LK - utilities_LK.max(1, keepdims=True), -600.0)))


class VariedPolicy:
    """As `PlackettLucePolicy`, where an item is worth more or less by those above it.

    At position k of list l, item j has exp((log odds of its score + gains[l, k, j]) / temperature) as its odds.
    `gains_LKK` are those of the logged order; where j < k they do not matter.

    >>> gains_LKK = np.log([[[1, 1, 1], [1, 1, 3], [1, 1, 1]]])
    >>> VariedPolicy(1.0, gains_LKK).chances(np.full((1, 3), 0.5)).round(2)
    array([[0.33, 0.25, 1.  ]])
    """

    def __init__(self, temperature: float, gains_LKK: Floats) -> None:
        self._temperature, self._gains_LKK = temperature, gains_LKK

    def chances(self, scores_LK: Floats) -> Floats:
        return np.asarray(np.einsum("lkk->lk", self._all_chances(scores_LK)))

    def expected(self, scores_LK: Floats, values_LK: Floats) -> Floats:
        return np.asarray(np.einsum("lkj,lj->lk", self._all_chances(scores_LK), values_LK))

    def _all_chances(self, scores_LK: Floats) -> Floats:
        """Of each item at each position, given those above it."""
        p_LK = np.clip(np.asarray(scores_LK, np.float64), _SMALLEST, 1 - _SMALLEST)
        worth_LKK = (np.log(p_LK / (1 - p_LK))[:, None, :] + self._gains_LKK) / self._temperature
        left_KK = np.triu(np.ones(worth_LKK.shape[1:], np.bool_))
        worth_LKK = np.where(left_KK, worth_LKK, -np.inf)
        odds_LKK = np.exp(np.maximum(worth_LKK - worth_LKK.max(2, keepdims=True), -600.0)) * left_KK
        return np.asarray(odds_LKK / odds_LKK.sum(2, keepdims=True))


class GreedyPolicy:
    """Takes the item with the highest score; any of those with the same score.

    >>> GreedyPolicy().chances(np.array([[0.5, 0.75, 0.5]]))
    array([[0., 1., 1.]])
    """

    def chances(self, scores_LK: Floats) -> Floats:
        scores_LK = np.asarray(scores_LK, np.float64)
        return np.where(scores_LK == _highest(scores_LK), 1 / self._ties(scores_LK), 0.0)

    def expected(self, scores_LK: Floats, values_LK: Floats) -> Floats:
        found_LK = np.zeros_like(values_LK, np.float64)
        for first in range(found_LK.shape[1]):
            rest_LJ = np.asarray(scores_LK, np.float64)[:, first:]
            best_LJ = rest_LJ == rest_LJ.max(1, keepdims=True)
            found_LK[:, first] = (best_LJ * values_LK[:, first:]).sum(1) / best_LJ.sum(1)
        return found_LK

    def _ties(self, scores_LK: Floats) -> Floats:
        """How many of the items from each position on have the highest score of these."""
        highest_LK = _highest(scores_LK)
        return np.stack(
            [(scores_LK[:, k:] == highest_LK[:, k : k + 1]).sum(1) for k in range(scores_LK.shape[1])], 1
        ).astype(np.float64)


class EpsilonPolicy:
    """As `GreedyPolicy`, but with probability `epsilon` any of the items that are left.

    >>> EpsilonPolicy(0.3).chances(np.array([[0.5, 0.75, 0.6]])).round(2)
    array([[0.1 , 0.85, 1.  ]])
    """

    def __init__(self, epsilon: float) -> None:
        self._epsilon, self._greedy = epsilon, GreedyPolicy()

    def chances(self, scores_LK: Floats) -> Floats:
        return self._mixed(self._greedy.chances(scores_LK), np.ones_like(scores_LK, np.float64))

    def expected(self, scores_LK: Floats, values_LK: Floats) -> Floats:
        return self._mixed(
            self._greedy.expected(scores_LK, values_LK), _from_here_on(np.asarray(values_LK, np.float64))
        )

    def _mixed(self, greedy_LK: Floats, sums_LK: Floats) -> Floats:
        left_K = np.arange(sums_LK.shape[1], 0, -1)
        return np.asarray((1 - self._epsilon) * greedy_LK + self._epsilon * sums_LK / left_K)


def policy(exploration: str, temperature: float, epsilon: float = 0.1) -> Policy:
    """The policy that `[serving] exploration` names; in the place of `thompson`, whose draws a log does not have, what
    is left of it without them."""
    if exploration in ("epsilon", "thompson"):
        return EpsilonPolicy(epsilon)
    return GreedyPolicy() if exploration == "none" else PlackettLucePolicy(temperature)


def _from_here_on(values_LK: Floats) -> Floats:
    """Sums over each position and all after it."""
    return np.asarray(np.cumsum(values_LK[:, ::-1], axis=1)[:, ::-1])


def _highest(scores_LK: Floats) -> Floats:
    """The highest score at each position and all after it."""
    return np.asarray(np.maximum.accumulate(scores_LK[:, ::-1], axis=1)[:, ::-1])
