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

import numpy as np
import numpy.typing as npt

from serving.experiments.log_counts import UnitCounts

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AdjustedRate:
    """Of one arm. `variance` is that for one user; without adjustment it would be `unadjusted_variance`."""

    users: int
    rate: float
    variance: float
    unadjusted_variance: float


def adjusted_rates(arms: Mapping[str, UnitCounts]) -> dict[str, AdjustedRate]:
    """By arm, of those with at least two users and an impression. Without earlier impressions nothing is adjusted.

    >>> import numpy as np
    >>> n, before = np.full(4, 10), np.array([8, 2, 8, 2])
    >>> arms = {"a": UnitCounts(n, before, n, before), "b": UnitCounts(n, before + 1, n, before)}
    >>> {name: round(one.rate, 2) for name, one in adjusted_rates(arms).items()}
    {'a': 0.5, 'b': 0.6}
    >>> [round(one.variance, 6) for one in adjusted_rates(arms).values()]
    [0.0, 0.0]
    """
    present = {name: counts for name, counts in arms.items() if len(counts) > 1}
    if not present:
        return {}
    outcomes = {name: _linearised(counts.impressions_U, counts.clicks_U, None) for name, counts in present.items()}
    before = _earlier(present)
    theta = _theta(outcomes, before)
    centre = float(np.concatenate(list(before.values())).mean())
    found = {}
    for name, counts in present.items():
        z_U, x_U = outcomes[name], before[name]
        rate = counts.clicks_U.sum() / counts.impressions_U.sum()
        adjusted = float(rate - theta * (x_U.mean() - centre))
        found[name] = AdjustedRate(len(counts), adjusted, _variance(z_U - theta * x_U), _variance(z_U))
    return found


def _linearised(impressions_U: npt.NDArray[np.int64], clicks_U: npt.NDArray[np.int64], rate: float | None) -> Floats:
    """(clicks - rate * impressions) / mean impressions; the rate is that of these users by default."""
    rate = clicks_U.sum() / impressions_U.sum() if rate is None else rate
    return np.asarray((clicks_U - rate * impressions_U) / impressions_U.mean(), np.float64)


def _earlier(arms: Mapping[str, UnitCounts]) -> dict[str, Floats]:
    """The covariate of each arm's users, on the scale of all arms together."""
    shown = np.concatenate([counts.earlier_impressions_U for counts in arms.values()])
    clicked = np.concatenate([counts.earlier_clicks_U for counts in arms.values()])
    if not shown.any():
        return {name: np.zeros(len(counts)) for name, counts in arms.items()}
    every_U = _linearised(shown, clicked, None)
    ends = np.cumsum([len(counts) for counts in arms.values()])[:-1]
    return dict(zip(arms, np.split(every_U, ends), strict=True))


def _theta(outcomes: Mapping[str, Floats], before: Mapping[str, Floats]) -> float:
    """Pooled within the arms, so that a difference between them has no part in it."""
    centred = [(outcomes[name] - outcomes[name].mean(), before[name] - before[name].mean()) for name in outcomes]
    spread = sum(float(x_U @ x_U) for _, x_U in centred)
    return sum(float(z_U @ x_U) for z_U, x_U in centred) / spread if spread else 0.0


def _variance(values_U: Floats) -> float:
    return float(values_U.var(ddof=1))
