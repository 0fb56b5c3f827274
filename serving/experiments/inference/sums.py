"""Sums over the units of an arm, from which every figure is computed.

A unit is a user, or the few users that share a bucket (`serving.experiments.counts.counters`). Users are assigned to
arms, so users are what varies independently; the impressions of one user do not.

Shape suffixes: U units.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ClickSums:
    """Sums over the units of an arm. Those of disjoint groups of units add up.

    >>> ClickSums.of(np.array([4, 1]), np.array([2, 0])) + ClickSums.of(np.array([5]), np.array([3]))
    ClickSums(units=3, impressions=10, clicks=5, impressions_squared=42, products=23, clicks_squared=13)
    """

    units: int = 0
    """Units with at least one impression."""
    impressions: int = 0
    clicks: int = 0
    """Clicked impressions."""
    impressions_squared: int = 0
    products: int = 0
    """Of impressions and clicks."""
    clicks_squared: int = 0

    @classmethod
    def of(cls, impressions_U: npt.NDArray[np.int64], clicks_U: npt.NDArray[np.int64]) -> Self:
        """The sums of units with these counts."""
        x, y = impressions_U, clicks_U
        figures = (np.count_nonzero(x), x.sum(), y.sum(), (x * x).sum(), (x * y).sum(), (y * y).sum())
        return cls(*map(int, figures))

    def __add__(self, other: Self) -> Self:
        return type(self)(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def ctr(self) -> float | None:
        """Clicked impressions per impression; None without impressions."""
        return self.clicks / self.impressions if self.impressions else None

    @property
    def effective_clicks(self) -> float:
        """Clicks, where many of one unit count about as one: their number if all units had equally many (Kish 1965)."""
        return self.clicks**2 / self.clicks_squared if self.clicks else 0.0

    @property
    def effective_others(self) -> float:
        """The same of impressions without a click."""
        others = self.impressions - self.clicks
        return others**2 / (self.impressions_squared - 2 * self.products + self.clicks_squared) if others else 0.0

    @property
    def variance(self) -> float:
        """Of the click rate, for one unit: that of the rate is this divided by `units`. At least two units.

        The delta method for a ratio of means (Deng et al., Applying the Delta Method in Metric Analytics, 2018, eq. 2):
        with R = mean(y) / mean(x), the variance of (y - R x) / mean(x), whose mean over the units is zero.
        """
        rate = self.clicks / self.impressions
        squares = self.clicks_squared - 2 * rate * self.products + rate**2 * self.impressions_squared
        return max(squares, 0.0) / (self.units - 1) * (self.units / self.impressions) ** 2
