"""Exact confidence sequences of shares: beside another computation of them, and of equal arms looked at often."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from serving.experiments.inference.betting import UserShare, difference_interval

SHARES = [
    UserShare(users, ones) for users, ones in [(1, 0), (1, 1), (7, 3), (100, 0), (100, 100), (5000, 37), (10**6, 10**5)]
]


def capital(share: UserShare, p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Written down apart: the beta-binomial mixture over the likelihood."""
    ones, zeros = share.ones, share.users - share.ones
    mixture = betaln(ones + 0.5, zeros + 0.5) - betaln(0.5, 0.5)
    return np.asarray(mixture - xlogy(ones, p) - xlog1py(zeros, -np.asarray(p)))


@pytest.mark.parametrize("share", SHARES, ids=str)
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_ends_are_where_the_mixture_reaches_the_bound(share: UserShare, alpha: float) -> None:
    low, high = share.interval(alpha)
    best = share.ones / share.users
    assert 0 <= low <= best <= high <= 1
    reached = np.log(1 / alpha)

    def beyond(p: float) -> float:
        return float(capital(share, p) - reached)

    if share.ones:
        assert low == pytest.approx(brentq(beyond, 1e-300, best * (1 - 1e-12) or 1e-9), rel=1e-6)
    else:
        assert low == pytest.approx(0, abs=1e-12)
    if share.ones < share.users:
        assert high == pytest.approx(brentq(beyond, best + 1e-12, 1 - 1e-15), rel=1e-6)
    else:
        assert high == pytest.approx(1)


@pytest.mark.parametrize("users", [10**9, 10**10])
def test_of_a_billion_who_all_did_the_ends_are_found(users: int) -> None:
    """With nothing but ones the capital is a constant less users log(p)."""
    low, high = UserShare(users, users).interval(0.05)
    won = float(betaln(users + 0.5, 0.5) - betaln(0.5, 0.5))
    assert (1 - low) * users == pytest.approx(np.log(1 / 0.05) - won, rel=1e-4)
    assert high == 1
    assert difference_interval(UserShare(1, 1), UserShare(users, users), 0.05)[0] <= 0
    assert difference_interval(UserShare(users, users), UserShare(1, 0), 0.05)[1] == pytest.approx(1)


@pytest.mark.parametrize(("treatment", "control"), list(product(SHARES[2:6], SHARES[2:6])))
def test_a_difference_has_the_ends_of_all_pairs_that_are_left(treatment: UserShare, control: UserShare) -> None:
    low, high = difference_interval(treatment, control, 0.05)
    grid = np.linspace(0, 1, 1501)
    left = capital(treatment, grid)[:, None] + capital(control, grid) < np.log(1 / 0.05)
    differences = (grid[:, None] - grid)[left]
    assert low <= differences.min() + 1e-9
    assert high >= differences.max() - 1e-9
    assert low == pytest.approx(differences.min(), abs=0.003)
    assert high == pytest.approx(differences.max(), abs=0.003)


def test_nothing_is_known_of_nobody() -> None:
    assert UserShare(0, 0).interval(0.05) == (0.0, 1.0)
    assert difference_interval(UserShare(0, 0), UserShare(5, 2), 0.05) == (-1.0, 1.0)


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_equal_arms_are_told_apart_less_often_than_stated_however_often_one_looks(share: float) -> None:
    """After every user of 1,000 in each of 2,000 experiments. Zero is left out when the pair of equal shares that the
    capital speaks least against, the pooled one, is."""
    experiments, users, alpha = 2000, 1000, 0.05
    ones_2XU = (np.random.default_rng(4).random((2, experiments, users), np.float32) < share).cumsum(2)
    seen_U = np.arange(1, users + 1)
    zeros_2XU = seen_U - ones_2XU
    won = (betaln(ones_2XU + 0.5, zeros_2XU + 0.5) - betaln(0.5, 0.5)).sum(0)
    pooled_XU = ones_2XU.sum(0) / (2 * seen_U)
    lost = xlogy(ones_2XU.sum(0), pooled_XU) + xlog1py(zeros_2XU.sum(0), -pooled_XU)
    apart_XU = won - lost >= np.log(1 / alpha)
    assert apart_XU.any(1).mean() <= alpha
    for x in np.flatnonzero(apart_XU.any(1))[:10].tolist():
        at = int(apart_XU[x].argmax())
        arms = [UserShare(at + 1, int(ones)) for ones in ones_2XU[:, x, at]]
        low, high = difference_interval(arms[0], arms[1], alpha)
        assert low >= 0 or high <= 0
