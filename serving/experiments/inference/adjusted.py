r"""Click rates adjusted by what users did before the experiment: CUPED, for a ratio of sums over users.

Of user u with n_u impressions and y_u clicks in arm a of rate R_a, the linearised outcome is z_u, (y_u - R_a n_u)
divided by the mean of n, whose variance over users is that of the rate for one user (the delta method). The covariate
x_u is the same of the time before, with the rate of all arms together, and 0 for users who were not there. As
assignment knows nothing of it, its mean is the same in all arms in expectation, and with theta = cov(z, x) / var(x),
pooled over the arms,

R_a - theta (mean of x in a - mean of x in all arms)

estimates the same rate with the variance of z - theta x: smaller by the squared correlation. Deng et al., Improving the
Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data, WSDM 2013, section 3.2. Shape suffix: U
users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from serving.experiments.counts.counted_users import UnitCounts
from serving.experiments.inference.intervals import Interval, half_width

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over users of impressions, clicks, earlier impressions and earlier clicks, and of their products.

    Those of disjoint groups of users add up.
    """

    users: int
    sums: Floats
    """[4]"""
    products: Floats
    """[4, 4]"""

    @classmethod
    def of(cls, counts: UnitCounts) -> Self:
        columns = (counts.impressions_U, counts.clicks_U, counts.earlier_impressions_U, counts.earlier_clicks_U)
        return cls.of_columns(np.array(columns, np.float64))

    @classmethod
    def of_columns(cls, columns_4U: Floats) -> Self:
        """Of any ratio of sums: its denominator and numerator of each unit, and both of the time before."""
        return cls(columns_4U.shape[1], columns_4U.sum(1), columns_4U @ columns_4U.T)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.users + other.users, self.sums + other.sums, self.products + other.products)

    def covariance(self, some: Floats, others: Floats) -> float:
        """Over users, of two linear combinations [4] of the counts. At least two users."""
        off = self.products - np.outer(self.sums, self.sums) / self.users
        return float(some @ off @ others) / (self.users - 1)


@dataclass(frozen=True, slots=True)
class AdjustedRate:
    """Of one arm. `variance` is that for one user; without adjustment it would be `unadjusted_variance`."""

    users: int
    rate: float
    variance: float
    unadjusted_variance: float


@dataclass(frozen=True, slots=True)
class RateDifference:
    """An arm's adjusted rate less another's. `variance` is that of one of the `units` of both arms."""

    value: float
    units: int
    variance: float
    variance_left: float
    """Share of the variance that is left of the unadjusted difference's."""

    @classmethod
    def of(cls, arm: AdjustedRate, other: AdjustedRate) -> Self:
        """The difference; users of different arms are independent."""
        units = arm.users + other.users
        variance = units * (arm.variance / arm.users + other.variance / other.users)
        unadjusted = units * (arm.unadjusted_variance / arm.users + other.unadjusted_variance / other.users)
        return cls(arm.rate - other.rate, units, variance, variance / unadjusted if unadjusted else 1.0)

    def interval(self, alpha: float) -> Interval:
        """Its confidence sequence (`serving.experiments.inference.intervals`)."""
        half = half_width(self.variance, self.units, alpha)
        return self.value - half, self.value + half

    def verdict(self, alpha: float) -> str:
        """`better`, `worse` or `no difference shown`, by that."""
        low, high = self.interval(alpha)
        return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def adjusted_rates(arms: Mapping[str, Moments]) -> dict[str, AdjustedRate]:
    """By arm, of those with at least two users. Without earlier clicks nothing is adjusted.

    >>> n, before = np.full(4, 10), np.array([8, 2, 8, 2])
    >>> arms = {"a": UnitCounts(n, before, n, before), "b": UnitCounts(n, before + 1, n, before)}
    >>> rates = adjusted_rates({name: Moments.of(counts) for name, counts in arms.items()})
    >>> [(round(one.rate, 2), round(one.variance, 6)) for one in rates.values()]
    [(0.5, 0.0), (0.6, 0.0)]
    """
    present = {name: moments for name, moments in arms.items() if moments.users > 1}
    if not present:
        return {}
    outcomes = {name: _linearised(moments, 0) for name, moments in present.items()}
    first, *others = present.values()
    before = _linearised(sum(others, start=first), 2)
    theta = _theta(present, outcomes, before)
    return {
        name: AdjustedRate(
            moments.users,
            float(moments.sums[1] / moments.sums[0] - theta * (before @ moments.sums) / moments.users),
            moments.covariance(outcomes[name] - theta * before, outcomes[name] - theta * before),
            moments.covariance(outcomes[name], outcomes[name]),
        )
        for name, moments in present.items()
        if moments.sums[0]
    }


def _linearised(moments: Moments, first: int) -> Floats:
    """Coefficients [4] of (clicks - rate * impressions) / mean impressions; its mean over these users is 0.

    `first` is the place of the impressions, before that of the clicks. Zeros without impressions.
    """
    found = np.zeros(4)
    impressions, clicks = moments.sums[first : first + 2]
    if impressions:
        found[first : first + 2] = np.array([-clicks / impressions, 1.0]) * moments.users / impressions
    return found


def _theta(arms: Mapping[str, Moments], outcomes: Mapping[str, Floats], before: Floats) -> float:
    """Pooled within the arms, so that a difference between them has no part in it."""
    free = {name: moments.users - 1 for name, moments in arms.items()}
    spread = sum(free[name] * moments.covariance(before, before) for name, moments in arms.items())
    shared = sum(free[name] * moments.covariance(outcomes[name], before) for name, moments in arms.items())
    return shared / spread if spread > 0 else 0.0
