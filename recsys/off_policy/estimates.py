r"""The mean reward of a list under another policy, estimated from lists that a known policy has drawn.

Position k of a list has the reward y_k, and the cascade weight w_k of the items down to it: the product of target
chance / logged propensity. With a reward model q that has not seen these rewards, the value of a list is

| estimator | sum over positions k of |
|---|---|
| logged | y_k |
| IPS | w_k y_k (RIPS: McInerney et al., KDD 2020) |
| SNIPS | w_k y_k / mean of w_k over the lists (Swaminathan and Joachims, NeurIPS 2015) |
| DR | w_k (y_k - q_k) + w_{k-1} E q_k (Kiyohara et al., WSDM 2022) |

with E over the target's draw for k, given those above it. IPS and DR are unbiased if a reward depends on nothing below
its position. Lists of one user depend on each other, so intervals are those of a ratio of sums over users, by the delta
method. Shape suffixes: L lists, K positions, U units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.off_policy.policies import Floats, Policy

Units = npt.NDArray[np.integer]

CERTAIN = 1 - 1e-6
"""What a propensity is at least, as a 32-bit number, where nothing else could have been drawn.

A list whose last item was certain shows all candidates: by then it was the only one left.
"""

_QUANTILE = 1.959963984540054
"""Of the normal distribution, for two-sided intervals of 95 %."""


class Estimate(msgspec.Struct, frozen=True):
    """A mean over lists with its interval of 95 %; no interval if there is only one unit."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class DrawnLists:
    """Lists that were drawn, all of the same length, in the order in which they were shown."""

    propensities_LK: Floats
    """The logged chance of each item at its position, given those above it."""
    rewards_LK: Floats
    units_L: Units
    """What is independent of each other: the user of each list."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each list contributes to every estimator; parts of several lengths of list are put together by `joined`."""

    units_L: Units
    dr_L: Floats
    weights_LT: Floats
    """Cascade weights of the first T positions, all T of them; beyond a list's end, those of its end."""
    rewards_LT: Floats

    @staticmethod
    def joined(parts: list[Contributions]) -> Contributions:
        columns = ("units_L", "dr_L", "weights_LT", "rewards_LT")
        return Contributions(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))

    @property
    def logged_by_list(self) -> Floats:
        return np.asarray(self.rewards_LT.sum(1))

    @property
    def ips_by_list(self) -> Floats:
        return np.asarray((self.weights_LT * self.rewards_LT).sum(1))

    def logged(self) -> Estimate:
        return mean(self.logged_by_list, self.units_L)

    def ips(self) -> Estimate:
        return mean(self.ips_by_list, self.units_L)

    def dr(self) -> Estimate:
        return mean(self.dr_L, self.units_L)

    def snips(self) -> Estimate:
        """Its interval is that of the linearised ratio of each position."""
        weight_T = self.weights_LT.mean(0)
        rate_T = (self.weights_LT * self.rewards_LT).mean(0) / weight_T
        spread_L = (self.weights_LT * (self.rewards_LT - rate_T) / weight_T).sum(1)
        return mean(spread_L + rate_T.sum(), self.units_L)

    def gain(self) -> Estimate:
        """DR less what was logged, of the same lists."""
        return mean(self.dr_L - self.logged_by_list, self.units_L)


def contributions(lists: DrawnLists, policy: Policy, scores_LK: Floats, model_LK: Floats, top: int) -> Contributions:
    """Of the rewards at the first `top` positions of each list.

    `scores_LK` are those that `policy` orders by, `model_LK` the reward model's rewards.
    """
    ratios_LK = policy.chances(scores_LK) / lists.propensities_LK
    expected_LK = policy.expected(scores_LK, model_LK)
    weights_LT = np.cumprod(ratios_LK, axis=1)[:, :top]
    above_LT = np.concatenate([np.ones((len(weights_LT), 1)), weights_LT[:, :-1]], axis=1)
    rewards_LT = lists.rewards_LK[:, :top]
    corrected_LT = weights_LT * (rewards_LT - model_LK[:, :top]) + above_LT * expected_LK[:, :top]
    missing = ((0, 0), (0, max(0, top - weights_LT.shape[1])))
    return Contributions(
        units_L=lists.units_L,
        dr_L=corrected_LT.sum(1),
        weights_LT=np.pad(weights_LT, missing, mode="edge"),
        rewards_LT=np.pad(rewards_LT, missing),
    )


def mean(values_L: Floats, units_L: Units) -> Estimate:
    """The mean over lists, with an interval by the delta method of the ratio of sums over units.

    >>> mean(np.array([1.0, 0.0, 1.0, 0.0]), np.array([1, 2, 3, 4])).value
    0.5
    """
    value = float(values_L.mean())
    return interval_of_sums(value, (values_L - value) / len(values_L), units_L)


def interval_of_sums(value: float, parts_L: Floats, units_L: Units) -> Estimate:
    """An estimate with an interval of 95 %, given what each list adds to its error: parts whose sum is 0."""
    _, unit_L = np.unique(units_L, return_inverse=True)
    off_U = np.bincount(unit_L, parts_L)
    if len(off_U) < 2:
        return Estimate(value, None, None)
    units = len(off_U)
    half = _QUANTILE * math.sqrt(units / (units - 1) * float((off_U**2).sum()))
    return Estimate(value, value - half, value + half)
