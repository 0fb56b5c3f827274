"""What an experiment shows by its users' counts: narrower by the time before, and as often wrong as stated."""

from __future__ import annotations

import numpy as np
import pytest

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.counted_users import UnitCounts
from serving.experiments.log_summary import compared

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))


def users(rng: np.random.Generator, count: int, gain: float = 0.0) -> UnitCounts:
    """Users of lasting taste and activity, seen for longer before the experiment than in it."""
    taste, busy = rng.beta(2, 6, count), 1 + rng.poisson(4, count)
    shown, before = 1 + rng.poisson(busy), rng.poisson(4 * busy)
    clicks = rng.binomial(shown, np.minimum(taste + gain, 1.0))
    return UnitCounts(shown, clicks, before, rng.binomial(before, taste))


def test_the_time_before_takes_variance_away_and_leaves_the_difference() -> None:
    rng = np.random.default_rng(0)
    summary, (adjusted,) = compared(AB, {"control": users(rng, 1_500), "treatment": users(rng, 1_500, 0.03)}, 0)
    (plain,) = summary.comparisons
    assert adjusted.variance_left < 0.75
    assert adjusted.interval[0] < 0.03 < adjusted.interval[1]
    assert adjusted.interval[1] - adjusted.interval[0] < 0.9 * (plain.interval[1] - plain.interval[0])
    assert adjusted.verdict == "better"


def test_the_variance_that_is_left_is_that_of_the_narrower_interval() -> None:
    """At equal numbers of users an interval is as wide as the root of its variance."""
    rng = np.random.default_rng(0)
    arms = {"control": users(rng, 900), "treatment": users(rng, 1_000)}
    summary, (adjusted,) = compared(AB, arms, 0)
    (plain,) = summary.comparisons
    widths = [high - low for low, high in (adjusted.interval, plain.interval)]
    assert adjusted.variance_left == pytest.approx((widths[0] / widths[1]) ** 2)


def test_without_a_difference_a_verdict_is_as_rare_as_stated() -> None:
    verdicts = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        _, (adjusted,) = compared(AB, {"control": users(rng, 300), "treatment": users(rng, 300)}, 0)
        verdicts.append(adjusted.verdict)
    assert sum(verdict != "no difference shown" for verdict in verdicts) <= 400 * 0.05


def test_without_a_time_before_nothing_is_adjusted() -> None:
    rng, nothing = np.random.default_rng(0), np.zeros(500, np.int64)
    seen = {arm.name: users(rng, 500) for arm in AB.arms}
    arms = {name: UnitCounts(one.impressions_U, one.clicks_U, nothing, nothing) for name, one in seen.items()}
    summary, adjusted = compared(AB, arms, 0)
    assert summary.comparisons[0].verdict == "no difference shown"
    assert adjusted == []


def test_users_who_are_not_divided_by_the_weights_have_no_verdict() -> None:
    rng = np.random.default_rng(0)
    summary, adjusted = compared(AB, {"control": users(rng, 1_000), "treatment": users(rng, 2_000, 0.3)}, 0)
    assert summary.comparisons[0].verdict == "sample ratio broken"
    assert adjusted == []


def test_arms_share_the_error() -> None:
    rng = np.random.default_rng(0)
    many = Experiment("ab", tuple(Arm(name) for name in ("control", "treatment", "third", "fourth")))
    arms = {arm.name: users(rng, 500) for arm in many.arms}
    wide, narrow = compared(many, arms, 0), compared(AB, arms, 0)
    for one, other in ((wide[0].comparisons[0], narrow[0].comparisons[0]), (wide[1][0], narrow[1][0])):
        assert one.interval[0] < other.interval[0]
        assert other.interval[1] < one.interval[1]
