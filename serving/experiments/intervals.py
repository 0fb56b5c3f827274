"""Always-valid statistics of click counts: they may be looked at after every click without losing their meaning.

SciPy is imported where it is used: it would double the time in which a server starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.errors import InvalidValueError

Interval = tuple[float, float]


def rate_interval(clicks: int, impressions: int, alpha: float = 0.05) -> Interval:
    """Confidence sequence of a click rate: it covers the rate at all times at once with probability 1 - alpha.

    The set of rates p that the betting martingale M = B(1+k, 1+n-k) / (p^k (1-p)^(n-k)) does not refute, M < 1/alpha
    (Robbins 1970; the uniform Beta mixture of Howard et al., Time-uniform, nonparametric, nonasymptotic confidence
    sequences, 2021). Exact for independent impressions with one rate; depends on the counts only.

    >>> low, high = rate_interval(30, 1000)
    >>> round(low, 4), round(high, 4)
    (0.0137, 0.0553)
    """
    from scipy.optimize import brentq
    from scipy.special import betaln, xlog1py, xlogy

    if not 0 <= clicks <= impressions:
        raise InvalidValueError(f"{clicks} clicks of {impressions} impressions is no rate")
    if impressions == 0:
        return 0.0, 1.0
    misses = impressions - clicks
    bound = float(betaln(1 + clicks, 1 + misses)) + float(np.log(alpha))

    def excess(p: float) -> float:
        """Positive where p is refuted."""
        return bound - float(xlogy(clicks, p) + xlog1py(misses, -p))

    centre = clicks / impressions
    low = 0.0 if clicks == 0 else float(brentq(excess, 1e-300, centre))
    high = 1.0 if misses == 0 else float(brentq(excess, centre, 1.0 - 1e-16))
    return low, high


def difference_interval(treatment: tuple[int, int], control: tuple[int, int], alpha: float = 0.05) -> Interval:
    """Confidence sequence of the difference of two rates, each given as (clicks, impressions).

    From both rates' sequences at alpha / 2: exact by the union bound, and so wider than an asymptotic one.
    """
    low, high = rate_interval(*treatment, alpha / 2)
    control_low, control_high = rate_interval(*control, alpha / 2)
    return low - control_high, high - control_low


def sample_ratio_p(counts: Sequence[int], weights: Sequence[float]) -> float:
    """p-value of the chi-square test that users fell to the arms as the weights say; 1.0 without users.

    >>> round(sample_ratio_p([5000, 5200], [1, 1]), 4)
    0.0477
    """
    from scipy.stats import chisquare

    total = sum(counts)
    if total == 0 or len(counts) < 2:
        return 1.0
    share = np.asarray(weights, float) / sum(weights)
    return float(chisquare(counts, share * total).pvalue)
