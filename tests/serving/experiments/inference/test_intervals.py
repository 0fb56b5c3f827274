"""Intervals against the formulas from raw data, and against simulated experiments that are looked at all the time.

Shape suffixes: U users, L looks at an experiment, C clicks of a user.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.inference.intervals import (
    FEWEST_UNITS,
    TUNED,
    difference_interval,
    half_width,
    one_sided_width,
    rate_interval,
)
from serving.experiments.inference.sums import ClickSums

Counts = npt.NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


def users(rng: np.random.Generator, count: int) -> tuple[Counts, Counts]:
    """Impressions and clicks of users of very different activity, whose rate depends on it."""
    impressions_U = 1 + rng.poisson(rng.pareto(2.0, count) * 10)
    return impressions_U, rng.binomial(impressions_U, rng.beta(1, 4, count) / (1 + (impressions_U > 10)))


def ratio(impressions_U: Counts, clicks_U: Counts) -> tuple[float, float]:
    """The click rate and its variance by the delta method:
    (var(y) - 2 R cov(x, y) + R^2 var(x)) / (n mean(x)^2)."""
    rate = clicks_U.mean() / impressions_U.mean()
    (var_x, cov), (_, var_y) = np.cov(impressions_U, clicks_U)
    variance = (var_y - 2 * rate * cov + rate**2 * var_x) / len(clicks_U) / impressions_U.mean() ** 2
    return float(rate), float(variance)


def radius(variance: float, n: int, alpha: float) -> float:
    """sigma sqrt(2 (n rho^2 + 1) / (n^2 rho^2) log(sqrt(n rho^2 + 1) / alpha)), sigma^2 = n `variance`."""
    rho = np.sqrt((-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / 5000)
    wide = n * rho**2 + 1
    return float(np.sqrt(n * variance) * np.sqrt(2 * wide / (n * rho) ** 2 * np.log(np.sqrt(wide) / alpha)))


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_intervals_are_those_of_the_raw_data(alpha: float) -> None:
    rng = np.random.default_rng(1)
    control, treatment = users(rng, 700), users(rng, 1300)
    (a, var_a), (b, var_b) = ratio(*control), ratio(*treatment)
    half = radius(var_b, 1300, alpha)
    assert rate_interval(ClickSums.of(*treatment), alpha) == pytest.approx((b - half, b + half))
    half = radius(var_a + var_b, 2000, alpha)
    found = difference_interval(ClickSums.of(*treatment), ClickSums.of(*control), alpha)
    assert found == pytest.approx((b - a - half, b - a + half))


def test_heavy_users_make_the_interval_wider_than_independent_impressions_would() -> None:
    impressions_U = np.full(500, 100)
    alike = ClickSums.of(impressions_U, np.full(500, 10))
    apart = ClickSums.of(impressions_U, np.where(np.arange(500) < 50, 100, 0))
    assert alike.ctr == apart.ctr == 0.1
    assert alike.variance == pytest.approx(0)
    assert apart.variance == pytest.approx(0.1 * 0.9 * 500 / 499)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.booleans()), min_size=2, max_size=40))
def test_sums_of_groups_add_up_to_those_of_all(counts: list[tuple[int, int, bool]]) -> None:
    x, y, group = (np.array(column) for column in zip(*counts, strict=True))
    y = np.minimum(x, y)
    assert ClickSums.of(x[group], y[group]) + ClickSums.of(x[~group], y[~group]) == ClickSums.of(x, y)
    assert ClickSums.of(x, y) + ClickSums() == ClickSums.of(x, y)


@pytest.mark.parametrize("units", [0, 1, FEWEST_UNITS - 1])
def test_few_users_say_nothing(units: int) -> None:
    few, many = ClickSums.of(np.full(units, 9), np.full(units, 3)), ClickSums.of(np.full(500, 9), np.full(500, 3))
    assert rate_interval(few) == (0.0, 1.0)
    assert difference_interval(few, many) == difference_interval(many, few) == (-1.0, 1.0)


def test_intervals_are_narrowest_for_the_stated_number_of_users() -> None:
    """Compared to sequences of another rho, which is what another variance and number of users amount to."""
    relative = [half_width(1.0, units, 0.05) * np.sqrt(units) for units in (TUNED // 20, TUNED, TUNED * 20)]
    assert relative[1] < relative[0]
    assert relative[1] < relative[2]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 5.0])
def test_a_confidence_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        half_width(1.0, 10, alpha)


@pytest.mark.parametrize(
    ("rate", "users", "step"), [(0.001, 100_000, 200), (0.0001, 400_000, 2000), (0.01, 20_000, 50), (0.99, 20_000, 50)]
)
@pytest.mark.parametrize(("each", "alike"), [(1, 0.0), (4, 0.0), (4, 1.0)])
def test_rare_outcomes_are_covered_at_all_times(rate: float, users: int, step: int, each: int, alike: float) -> None:
    """Users with `each` impressions, all clicked or none for a share `alike` of them, looked at after every `step`."""
    rng = np.random.default_rng(5)
    clicks_C = np.arange(each + 1)
    whole_C = np.array([1 - rate, *[0] * (each - 1), rate])
    binomial_C = (
        np.array([math.comb(each, clicks) for clicks in clicks_C]) * rate**clicks_C * (1 - rate) ** (each - clicks_C)
    )
    chance_C = alike * whole_C + (1 - alike) * binomial_C
    missed, runs = 0, 200
    for _ in range(runs):
        users_LC = rng.multinomial(step, chance_C, users // each // step).cumsum(0)
        far_LC = users_LC[_far(users_LC, rate)]
        missed += any(not low <= rate <= high for low, high in map(rate_interval, _sums(far_LC)))
    assert missed <= 0.05 * runs


def _far(users_LC: Counts, rate: float) -> npt.NDArray[np.bool_]:
    """Which looks find another click rate than `rate` by two standard errors of independent impressions.

    The others tell nothing: an interval too narrow to cover them misses many of these as well, in a third of the runs.
    """
    each = users_LC.shape[1] - 1
    impressions_L, clicks_L = users_LC.sum(1) * each, users_LC @ np.arange(each + 1)
    far_L: npt.NDArray[np.bool_] = np.abs(clicks_L - impressions_L * rate) > 2 * np.sqrt(
        impressions_L * rate * (1 - rate)
    )
    return far_L


def _sums(users_LC: Counts) -> Iterator[ClickSums]:
    """At each look, from the number of users with C clicks, each of whom has as many impressions as C may be."""
    each = users_LC.shape[1] - 1
    clicks_C = np.arange(each + 1)
    columns = users_LC.sum(1), users_LC @ clicks_C, users_LC @ clicks_C**2
    for units, clicks, squared in zip(*(column.tolist() for column in columns), strict=True):
        yield ClickSums(
            units=units,
            impressions=units * each,
            clicks=clicks,
            impressions_squared=units * each**2,
            clicks_squared=squared,
            products=clicks * each,
        )


def beta(a: float, b: float) -> Draw:
    return lambda rng, count: rng.beta(a, b, count)


def steady(_: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    return np.ones(count)


def heavy(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    return np.minimum(rng.pareto(1.5, count) / 2, 200)


def decided(rng: np.random.Generator, rates: Draw, activity: Draw, lift: float, looks: int, many: int) -> str:
    """The first verdict of an experiment of 1,000 users an arm with `many` impressions each, looked at `looks` times;
    half of the users come over time."""
    arm_U, rate_U, active_U = rng.integers(0, 2, 2000), rates(rng, 2000), activity(rng, 2000)
    rate_U = np.minimum(rate_U * (1 + lift * arm_U), 1)
    start_U = np.maximum(rng.integers(-looks, looks, 2000), 0)
    impressions_U, clicks_U = np.zeros(2000, np.int64), np.zeros(2000, np.int64)
    for look in range(looks):
        new_U = rng.poisson(active_U * many / looks) * (start_U <= look)
        impressions_U += new_U
        clicks_U += rng.binomial(new_U, rate_U)
        control, treatment = (ClickSums.of(impressions_U[arm_U == arm], clicks_U[arm_U == arm]) for arm in (0, 1))
        low, high = difference_interval(treatment, control)
        if low > 0 or high < 0:
            return "better" if low > 0 else "worse"
    return ""


EXPERIMENTS = [
    pytest.param(beta(1, 9), steady, 100, id="users differ"),
    pytest.param(beta(0.5, 4.5), steady, 100, id="users differ much"),
    pytest.param(beta(1, 9), heavy, 100, id="heavy users"),
    pytest.param(beta(1, 99), steady, 5, id="rare clicks"),
]


@pytest.mark.parametrize(("rates", "activity", "many"), EXPERIMENTS)
@pytest.mark.parametrize(("runs", "looks"), [(60, 20), pytest.param(150, 50, marks=pytest.mark.slow)])
def test_equal_arms_are_rarely_told_apart_by_looking_often(
    rates: Draw, activity: Draw, many: int, runs: int, looks: int
) -> None:
    """A false verdict in at most 5 % of the runs; taking impressions as independent gives 13 to 30 %."""
    rng = np.random.default_rng(0)
    false = sum(bool(decided(rng, rates, activity, 0.0, looks, many)) for _ in range(runs))
    assert false <= 0.05 * runs


@pytest.mark.parametrize(("rates", "activity", "many"), EXPERIMENTS[:2])
def test_a_true_lift_is_found(rates: Draw, activity: Draw, many: int) -> None:
    rng = np.random.default_rng(0)
    verdicts = [decided(rng, rates, activity, 0.5, 20, many) for _ in range(40)]
    assert verdicts.count("better") >= 32
    assert "worse" not in verdicts


def test_the_one_sided_sequence_alone_has_its_alpha_and_is_nearer_than_the_two_sided_one() -> None:
    """Means of normal numbers, looked at 100 times from 100 to 10,000 units."""
    rng, alpha, units = np.random.default_rng(0), 0.05, np.arange(100, 10_001, 100)
    sums = np.cumsum(rng.normal(0.0, 10.0, (4_000, 100)), 1)
    widths = np.array([one_sided_width(1.0, count, alpha) for count in units.tolist()])
    assert 0.01 < (sums / units > widths).any(1).mean() <= alpha
    assert all(widths < [half_width(1.0, count, alpha) for count in units.tolist()])


def test_the_one_sided_sequence_is_where_its_mixture_first_reaches_the_odds() -> None:
    """The mixture of half a normal distribution, integrated, is 1 / alpha or more there, and less a tenth below it."""
    alpha, units = 0.05, 3_000
    rho2 = (-2 * math.log(2 * alpha) + math.log(1 - 2 * math.log(2 * alpha))) / TUNED
    bets = np.linspace(0, 10 * math.sqrt(rho2), 100_001)
    density = 2 * np.exp(-(bets**2) / (2 * rho2)) / math.sqrt(2 * math.pi * rho2)

    def mixture(total: float) -> float:
        return float(np.trapezoid(np.exp(bets * total - bets**2 * units / 2) * density, bets))

    assert mixture(0.0) <= 1
    bound = units * one_sided_width(1.0, units, alpha)
    assert mixture(bound) >= 1 / alpha
    assert mixture(0.9 * bound) < 1 / alpha
