"""Whether a log can tell anything of another policy. Shape suffix: L lists."""

from __future__ import annotations

import math

from recsys.off_policy.policies import Floats

FEWEST = 100.0
"""Least effective number of lists for an estimate: with fewer, intervals are not what they say."""
_STRAY = 0.05
"""How far the mean weight, which is 1 in expectation, may be from it whatever its standard error."""


def effective_sample_size(weights_L: Floats) -> float:
    """(sum w)^2 / sum w^2: how many equal weights have a mean that varies as much (Kish 1965); 0 of no weight.

    >>> import numpy as np
    >>> effective_sample_size(np.array([1.0, 1.0, 0.0, 0.0]))
    2.0
    """
    squares = float((weights_L**2).sum())
    return float(weights_L.sum()) ** 2 / squares if squares else 0.0


def no_overlap(weights_L: Floats) -> str:
    """Why the lists cannot tell of the target whose weights these are; empty if they can."""
    effective = effective_sample_size(weights_L)
    if effective < FEWEST:
        return f"{len(weights_L):,} lists say as much as {effective:.0f} of its own, fewer than {FEWEST:.0f}"
    average, error = float(weights_L.mean()), float(weights_L.std()) / math.sqrt(len(weights_L))
    if abs(average - 1) > _STRAY + 4 * error:
        return (
            f"the mean weight is {average:.2f} and not 1: it shows what the log never shows, or propensities are wrong"
        )
    return ""
