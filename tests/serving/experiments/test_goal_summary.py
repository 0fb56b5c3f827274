"""Figures of goals against Welch's variance and a regression, and how often equal arms are told apart."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import numpy.typing as npt
import pytest

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.goal_summary import GoalSummary, summarise_goals
from serving.experiments.goals import Goal
from serving.experiments.inference.betting import UserShare, difference_interval
from serving.experiments.inference.intervals import TUNED

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))
SPENT = Goal("spent", "value", 1, frozenset({"buy"}))
BUYERS = Goal("buyers", "conversion", 1, frozenset({"buy"}))
Floats = npt.NDArray[np.float64]


def columns(figure: Floats, earlier: Floats | None = None) -> Floats:
    one = np.ones(len(figure))
    return np.stack([one, figure, one, np.zeros(len(figure)) if earlier is None else earlier])


def spenders(rng: np.random.Generator, users: int, scale: float = 1.0) -> tuple[Floats, Floats]:
    """Most spend nothing, some much; who spent before does so again."""
    keen = rng.gamma(0.5, 1.0, users)
    return scale * rng.poisson(keen) * rng.lognormal(1, 0.7, users), rng.poisson(3 * keen).astype(float)


def sem(figure: Floats) -> float:
    """Standard error of the mean."""
    return float(figure.std(ddof=1)) / sqrt(len(figure))


def half(variance_of_mean: float, users: int, alpha: float) -> float:
    """Of the asymptotic confidence sequence (Waudby-Smith et al., eq. 9), written down apart."""
    rho2 = (-2 * log(alpha) + log(1 - 2 * log(alpha))) / TUNED
    t = users * rho2
    return sqrt(variance_of_mean) * sqrt(2 * (t + 1) / t * log(sqrt(t + 1) / alpha))


def summary(goal: Goal, control: Floats, treatment: Floats, alpha: float = 0.05) -> GoalSummary:
    (found,) = summarise_goals(AB, [goal], {goal.name: {"control": control, "treatment": treatment}}, True, alpha)
    return found


def test_without_a_time_before_the_difference_has_the_variance_of_welch() -> None:
    rng = np.random.default_rng(0)
    a, b = spenders(rng, 900)[0], spenders(rng, 700, 1.5)[0]
    found = summary(SPENT, columns(a), columns(b))
    (compared,) = found.comparisons
    assert compared.difference == pytest.approx(b.mean() - a.mean())
    wide = half(sem(a) ** 2 + sem(b) ** 2, 1600, 0.05)
    assert compared.interval == pytest.approx((b.mean() - a.mean() - wide, b.mean() - a.mean() + wide))
    assert compared.variance_left == 1.0
    assert [arm.users for arm in found.arms] == [900, 700]
    assert [arm.mean for arm in found.arms] == pytest.approx([a.mean(), b.mean()])
    low, high = found.arms[0].interval or (0, 0)
    assert high - low == pytest.approx(2 * half(sem(a) ** 2, 900, 0.05))


def test_with_a_time_before_the_difference_is_that_of_a_regression() -> None:
    rng = np.random.default_rng(1)
    (a, before_a), (b, before_b) = spenders(rng, 900), spenders(rng, 700)
    (compared,) = summary(SPENT, columns(a, before_a), columns(b, before_b)).comparisons
    arm = np.repeat([0.0, 1.0], [900, 700])
    design = np.stack([np.ones(1600), arm, np.concatenate([before_a, before_b])], 1)
    effect = np.linalg.lstsq(design, np.concatenate([a, b]), rcond=None)[0]
    assert compared.difference == pytest.approx(effect[1])
    left = [one - effect[2] * before for one, before in ((a, before_a), (b, before_b))]
    expected = sum(sem(one) ** 2 for one in left) / (sem(a) ** 2 + sem(b) ** 2)
    assert compared.variance_left == pytest.approx(expected)
    assert expected < 0.9


@pytest.mark.parametrize(
    ("goal", "figure"),
    [
        (BUYERS, np.r_[np.ones(19), np.zeros(981)]),
        (BUYERS, np.r_[np.ones(981), np.zeros(19)]),
        (BUYERS, np.tile([0.0, 1.0], 49)),
        (SPENT, np.r_[1e6, np.ones(900)]),
        (SPENT, np.zeros(900)),
    ],
    ids=["few did", "few did not", "few users", "one spent nearly all", "nobody spent"],
)
def test_too_few_data_are_said(goal: Goal, figure: Floats) -> None:
    enough = columns(np.tile([0.0, 1.0], 500))
    found = summary(goal, enough, columns(figure))
    assert (found.comparisons[0].verdict, found.comparisons[0].interval) == ("too few data", None)
    assert found.arms[0].mean == 0.5
    assert found.arms[1].mean is None


@pytest.mark.slow
def test_equal_arms_are_told_apart_by_looking_often_at_most_as_often_as_stated() -> None:
    told = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        arms = [spenders(rng, 1_000) for _ in AB.arms]
        for users in range(100, 1_001, 100):
            control, treatment = (columns(now[:users], before[:users]) for now, before in arms)
            if summary(SPENT, control, treatment).comparisons[0].verdict in ("better", "worse"):
                told += 1
                break
    assert told <= 300 * 0.05


def test_goals_and_arms_share_the_error() -> None:
    rng = np.random.default_rng(0)
    three = Experiment("ab", (*AB.arms, Arm("third")))
    figures = {arm.name: columns(spenders(rng, 500)[0]) for arm in three.arms}
    goals = [SPENT, Goal("again", "value", 1, frozenset({"buy"}))]
    shared = summarise_goals(three, goals, {goal.name: figures for goal in goals}, True, 0.05)[0]
    alone = summary(SPENT, figures["control"], figures["treatment"], 0.05 / 4)
    assert shared.comparisons[0] == alone.comparisons[0]


def test_users_who_are_not_divided_by_the_weights_have_no_verdict() -> None:
    figures = {"spent": {arm.name: columns(np.tile([0.0, 1.0], 500)) for arm in AB.arms}}
    (found,) = summarise_goals(AB, [SPENT], figures, False)
    assert found.comparisons[0].verdict == "sample ratio broken"


BACK = Goal("back", "return", 1)


def test_a_return_has_an_exact_sequence_too_from_the_first_user_on() -> None:
    rng = np.random.default_rng(6)
    a, b = (rng.random(600) < 0.2).astype(float), (rng.random(500) < 0.4).astype(float)
    found = summary(BACK, columns(a), columns(b))
    (compared,) = found.comparisons
    assert compared.exact == difference_interval(UserShare(500, int(b.sum())), UserShare(600, int(a.sum())), 0.05)
    assert [arm.exact for arm in found.arms] == [UserShare(len(x), int(x.sum())).interval(0.05) for x in (a, b)]
    low, high = compared.exact
    assert 0 < low < compared.difference < high  # type: ignore[operator]
    few = summary(BACK, columns(a[:9]), columns(b[:9])).comparisons[0]
    assert (few.verdict, few.interval) == ("too few data", None)
    assert few.exact is not None


def test_figures_of_users_that_may_change_have_no_exact_sequence() -> None:
    bought = (np.random.default_rng(7).random(400) < 0.5).astype(float)
    found = summary(BUYERS, columns(bought), columns(bought))
    assert [arm.exact for arm in found.arms] == [None, None]
    assert [compared.exact for compared in found.comparisons] == [None]
