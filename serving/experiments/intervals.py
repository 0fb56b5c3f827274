"""Confidence sequences of click rates: intervals that may be looked at after every click and keep their meaning.

They are asymptotic, so they are the whole range until an arm has `FEWEST_UNITS`.
"""

from __future__ import annotations

from math import log, sqrt

from recsys.errors import InvalidValueError
from serving.experiments.sums import ClickSums

Interval = tuple[float, float]

FEWEST_UNITS = 100
"""Least units of an arm for an interval."""
TUNED = 5000
"""Units for which intervals are narrowest. Others are valid, too, and somewhat wider than the best for their number."""


def rate_interval(sums: ClickSums, alpha: float = 0.05) -> Interval:
    """Confidence sequence of an arm's click rate: it covers the rate at all times at once with probability 1 - alpha.

    >>> import numpy as np
    >>> half = ClickSums.of(np.full(5000, 10), np.arange(5000) % 11)
    >>> low, high = rate_interval(half)
    >>> round(low, 3), round(high, 3)
    (0.486, 0.513)
    """
    if sums.ctr is None or sums.units < FEWEST_UNITS:
        return 0.0, 1.0
    half = half_width(sums.variance, sums.units, alpha)
    return max(sums.ctr - half, 0.0), min(sums.ctr + half, 1.0)


def difference_interval(treatment: ClickSums, control: ClickSums, alpha: float = 0.05) -> Interval:
    """Confidence sequence of the treatment's click rate less the control's; units of different arms are independent."""
    if treatment.ctr is None or control.ctr is None or min(treatment.units, control.units) < FEWEST_UNITS:
        return -1.0, 1.0
    units = treatment.units + control.units
    variance = units * (treatment.variance / treatment.units + control.variance / control.units)
    difference, half = treatment.ctr - control.ctr, half_width(variance, units, alpha)
    return max(difference - half, -1.0), min(difference + half, 1.0)


def half_width(variance: float, units: int, alpha: float) -> float:
    """Half the width of the asymptotic confidence sequence of a mean with this variance for one unit.

    Waudby-Smith et al., Time-uniform central limit theory and asymptotic confidence sequences (2021), eq. 9. Its rho is
    fixed beforehand, such that the interval is narrowest at `TUNED` units (their appendix, the closed form of
    `best_rho`).
    """
    if not 0 < alpha < 1:
        raise InvalidValueError(f"alpha is {alpha}; it must be between 0 and 1, such as 0.05")
    rho2 = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / TUNED
    spread = units * rho2 + 1
    return sqrt(variance * 2 * spread / (units**2 * rho2) * log(sqrt(spread) / alpha))
