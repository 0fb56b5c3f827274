"""Checks whether users are divided among the arms by their weights.

Users are known by the buckets they occupy, so their number is estimated. Shape suffixes: A arms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MISMATCH = 0.001
"""The usual threshold of this check: below this p-value the sample ratio counts as mismatched."""


def estimated_users(occupied: int, buckets: int) -> float:
    """How many users occupy this many of the buckets (linear counting: Whang et al. 1990).

    Its standard error is sqrt(buckets * (exp(t) - t - 1)) for t users a bucket: 0.7 of 500 users, 0.23 % with one user
    a bucket, 0.5 % with four. From about ten on, all buckets are occupied and the number stays below the truth.

    >>> round(estimated_users(500, 131_072))
    501
    """
    return float(-buckets * np.log1p(-min(occupied, buckets - 0.5) / buckets))


def sample_ratio_p(occupied_A: Sequence[int], weights_A: Sequence[float], buckets: int) -> float:
    """p-value of the chi-square test that users fell to the arms as the weights say; 1.0 without users.

    With few users a bucket it is Pearson's test. Otherwise each arm's estimated number of users has the variance
    buckets * (exp(t) - 1) of an estimate, with t expected users a bucket, in place of Pearson's expected number.

    >>> round(sample_ratio_p([5000, 5200], [1, 1], buckets=1 << 40), 4)
    0.0477
    """
    from scipy.special import chdtrc  # here, because it would double the time in which a server starts

    users_A = np.array([estimated_users(occupied, buckets) for occupied in occupied_A])
    if users_A.sum() == 0 or len(users_A) < 2:
        return 1.0
    share_A = np.asarray(weights_A, float) / sum(weights_A)
    total, variance_A = _expected(users_A, share_A, buckets)
    return float(chdtrc(len(users_A) - 1, np.sum((users_A - share_A * total) ** 2 / variance_A)))


def _expected(
    users_A: npt.NDArray[np.float64], share_A: npt.NDArray[np.float64], buckets: int
) -> tuple[float, npt.NDArray[np.float64]]:
    """The number of all users that fits best to all arms, and the variance of each arm's number."""
    total = users_A.sum()
    for _ in range(5):
        variance_A = buckets * np.expm1(np.minimum(share_A * total / buckets, 50.0))
        total = float(np.sum(share_A * users_A / variance_A) / np.sum(share_A**2 / variance_A))
    return total, variance_A
