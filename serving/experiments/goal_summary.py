"""What the users of an experiment's arms did for its goals: means for each user, and differences.

Differences are adjusted by the same figure of the time before, where there is one
(`serving.experiments.inference.adjusted`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from serving.experiments.assignment import Experiment
from serving.experiments.goals import Goal, Kind
from serving.experiments.inference.adjusted import AdjustedRate, Floats, Moments, RateDifference, adjusted_rates
from serving.experiments.inference.betting import UserShare, difference_interval
from serving.experiments.inference.intervals import FEWEST_OUTCOMES, FEWEST_UNITS, Interval, half_width


class GoalArm(msgspec.Struct, frozen=True):
    """One arm's mean over its users, without adjustment; None, as its interval, with too few data."""

    arm: str
    users: int
    """Of whom the figure is known."""
    mean: float | None
    interval: Interval | None
    exact: Interval | None = None
    """Of a return, whose users each count once: a sequence that is exact for any number of users."""


class GoalComparison(msgspec.Struct, frozen=True):
    """An arm's mean less that of the first arm, adjusted; None, as its interval, with too few data."""

    arm: str
    control: str
    difference: float | None
    interval: Interval | None
    verdict: str
    """`sample ratio broken`, `too few data`, `no difference shown`, `better` or `worse`."""
    variance_left: float | None
    """Share of the variance that is left of the unadjusted difference's."""
    exact: Interval | None = None
    """As in `GoalArm`, of the plain difference; nothing is adjusted."""


class GoalSummary(msgspec.Struct, frozen=True):
    """All comparisons of all goals of an experiment together are wrong at most as often as its alpha."""

    name: str
    kind: str
    arms: list[GoalArm]
    comparisons: list[GoalComparison]


def summarise_goals(
    experiment: Experiment,
    goals: Sequence[Goal],
    figures: Mapping[str, Mapping[str, Floats]],
    sample_ratio_ok: bool,
    alpha: float = 0.05,
) -> list[GoalSummary]:
    """What `figures` show: by goal and arm [4, U], as `LogCounts.goals` has them. The first arm is the control."""
    shared = alpha / max(len(goals) * (len(experiment.arms) - 1), 1)
    return [_summary(experiment, goal, figures[goal.name], sample_ratio_ok, shared, alpha) for goal in goals]


def _summary(
    experiment: Experiment,
    goal: Goal,
    figures: Mapping[str, Floats],
    sample_ratio_ok: bool,
    shared: float,
    alpha: float,
) -> GoalSummary:
    moments = {name: Moments.of_columns(columns) for name, columns in figures.items()}
    known = {name: one for name, one in moments.items() if _established(one, goal)}
    rates = adjusted_rates(known)
    control, *others = (arm.name for arm in experiment.arms)
    shares = {name: _share(one) for name, one in moments.items()} if goal.kind == "return" else {}
    arms = [
        _arm(goal.kind, name, moments[name], rates.get(name), shares.get(name), alpha) for name in (control, *others)
    ]
    compared = [
        _compare(name, control, rates, shares, shared)
        if sample_ratio_ok
        else GoalComparison(name, control, None, None, "sample ratio broken", None)
        for name in others
    ]
    return GoalSummary(goal.name, goal.kind, arms, compared)


def _established(one: Moments, goal: Goal) -> bool:
    """Whether there are enough users, and enough among whom the figure is spread, for asymptotic intervals.

    One whose figure is most of the sum counts for all of it (Kish 1965). Of shares this holds for both outcomes.
    """
    users, total = one.sums[:2]
    (xx, xy), (_, yy) = one.products[:2, :2]
    outcomes = [(total, yy)] if goal.kind == "value" else [(total, yy), (users - total, xx - 2 * xy + yy)]
    spread = min(found**2 / squares if squares > 0 else 0.0 for found, squares in outcomes)
    return bool(users >= FEWEST_UNITS and spread >= FEWEST_OUTCOMES)


def _share(one: Moments) -> UserShare:
    return UserShare(round(one.sums[0]), round(one.sums[1]))


def _arm(
    kind: Kind, name: str, moments: Moments, rate: AdjustedRate | None, share: UserShare | None, alpha: float
) -> GoalArm:
    users, exact = round(moments.sums[0]), share.interval(alpha) if share else None
    if rate is None:
        return GoalArm(name, users, None, None, exact)
    mean, half = float(moments.sums[1] / moments.sums[0]), half_width(rate.unadjusted_variance, rate.users, alpha)
    low, high = mean - half, mean + half
    interval = (low, high) if kind == "value" else (max(low, 0.0), min(high, 1.0))  # the others are shares
    return GoalArm(name, users, mean, interval, exact)


def _compare(
    name: str, control: str, rates: Mapping[str, AdjustedRate], shares: Mapping[str, UserShare], alpha: float
) -> GoalComparison:
    exact = difference_interval(shares[name], shares[control], alpha) if shares else None
    if name not in rates or control not in rates:
        return GoalComparison(name, control, None, None, "too few data", None, exact)
    found = RateDifference.of(rates[name], rates[control])
    figures = found.value, found.interval(alpha), found.verdict(alpha), found.variance_left
    return GoalComparison(name, control, *figures, exact)
