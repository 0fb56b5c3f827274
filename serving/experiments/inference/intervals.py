"""Confidence sequences of click rates: intervals that may be looked at after every click and keep their meaning.

They are asymptotic: they hold once an arm has `FEWEST_UNITS` units, and `FEWEST_OUTCOMES` clicks as well as impressions
without one. Until then an arm has a bound on one side, which assumes no distribution, and with fewer units none at all.
"""

from __future__ import annotations

from math import log, sqrt

from recsys.errors import InvalidValueError
from serving.experiments.inference.sums import ClickSums

Interval = tuple[float, float]

FEWEST_UNITS = 100
"""Least units of an arm for an interval."""
FEWEST_OUTCOMES = 20
"""Least clicks, and least impressions without one, from which the variance is known; those of one unit count as one.

In 2,000 simulated arms with rates from 0.0001 to 0.99, looked at 250 to 1,000 times, the interval that begins at 20
left the rate out at some time in at most 3.8 % of them; from the first click on it was 13 %, and before it 90 %.
"""
TUNED = 5000
"""Units for which intervals are narrowest. Others are valid, too, and somewhat wider than the best for their number."""


def rate_interval(sums: ClickSums, alpha: float = 0.05) -> Interval:
    """Confidence sequence of an arm's click rate: it covers the rate at all times at once with probability 1 - alpha.

    An arm with too few clicks has only an upper bound above zero, one with too few other impressions only a lower one.

    >>> import numpy as np
    >>> half = ClickSums.of(np.full(5000, 10), np.arange(5000) % 11)
    >>> low, high = rate_interval(half)
    >>> round(low, 3), round(high, 3)
    (0.486, 0.513)
    """
    if sums.ctr is None or sums.units < FEWEST_UNITS:
        return 0.0, 1.0
    if established(sums):
        half = half_width(sums.variance, sums.units, alpha)
        return max(sums.ctr - half, 0.0), min(sums.ctr + half, 1.0)
    bound = _rare(sums, alpha)
    return (0.0, bound) if sums.effective_clicks < FEWEST_OUTCOMES else (1 - bound, 1.0)


def established(sums: ClickSums) -> bool:
    """Whether there are enough units, clicks and impressions without one for the asymptotic interval."""
    return sums.units >= FEWEST_UNITS and min(sums.effective_clicks, sums.effective_others) >= FEWEST_OUTCOMES


def _rare(sums: ClickSums, alpha: float) -> float:
    """Upper bound of the rate of what fewer than `FEWEST_OUTCOMES` units did: the one that these would have.

    Each unit may do it always or never, so that it is the rate of such units, heavy ones counting for more.
    """
    units = sums.impressions**2 / sums.impressions_squared
    rate = FEWEST_OUTCOMES / units
    return min(rate + half_width(rate, units, alpha), 1.0)


def difference_interval(treatment: ClickSums, control: ClickSums, alpha: float = 0.05) -> Interval:
    """Confidence sequence of the treatment's click rate less the control's; units of different arms are independent.

    While one of the rates has only a bound, it is what the intervals of both at alpha / 2 leave.
    """
    if treatment.ctr is None or control.ctr is None or min(treatment.units, control.units) < FEWEST_UNITS:
        return -1.0, 1.0
    if not (established(treatment) and established(control)):
        (low, high), (least, most) = rate_interval(treatment, alpha / 2), rate_interval(control, alpha / 2)
        return low - most, high - least
    units = treatment.units + control.units
    variance = units * (treatment.variance / treatment.units + control.variance / control.units)
    difference, half = treatment.ctr - control.ctr, half_width(variance, units, alpha)
    return max(difference - half, -1.0), min(difference + half, 1.0)


def half_width(variance: float, units: float, alpha: float) -> float:
    """Half the width of the asymptotic confidence sequence of a mean with this variance for one unit.

    Waudby-Smith et al., Time-uniform central limit theory and asymptotic confidence sequences (2021), eq. 9. Its rho is
    fixed beforehand, such that the interval is narrowest at `TUNED` units (their appendix, the closed form of
    `best_rho`).
    """
    spread, scale = _spread(units, alpha)
    return sqrt(variance * scale * log(sqrt(spread) / alpha))


def one_sided_width(variance: float, units: float, alpha: float) -> float:
    """How far below the estimate the lower confidence sequence of a mean is, which alone has this alpha.

    The same with half a normal distribution as the mixture (their appendix on one-sided sequences).
    """
    spread, scale = _spread(units, min(2 * alpha, 0.99))
    return sqrt(variance * scale * log(1 + sqrt(spread) / (2 * alpha)))


def _spread(units: float, alpha: float) -> tuple[float, float]:
    """Of the mixture's rho and these units: units * rho^2 + 1, and twice that over (units * rho)^2."""
    if not 0 < alpha < 1:
        raise InvalidValueError(f"alpha is {alpha}; it must be between 0 and 1, such as 0.05")
    rho2 = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / TUNED
    spread = units * rho2 + 1
    return spread, 2 * spread / (units**2 * rho2)
