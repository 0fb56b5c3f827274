"""Verdicts of experiments: how often equal arms are told apart, and different ones, by looking often; and their cost.

Users differ in taste and much in activity (Pareto, 1.5), and were seen for longer before the experiment than in it.
Each experiment is looked at 20 times, and counts as told apart if any look says so.

Beside the verdict stand tests of the same users that are made for one look (normal, two-sided, the same variance by
the delta method): a fixed-horizon test after the last look, which shows what looking often costs in power, and the same
test at every look, which shows why the verdict is not such a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Result, Target, interleave, median
from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.counted_users import UnitCounts
from serving.experiments.goal_summary import summarise_goals
from serving.experiments.goals import Goal
from serving.experiments.inference.adjusted import Moments, RateDifference, adjusted_rates
from serving.experiments.log_summary import compared

AB = Experiment("ab", (Arm("control"), Arm("treatment")))
TEN = Experiment("ten", tuple(Arm(str(number)) for number in range(10)))
SPENT = Goal("spent", "value", 1, frozenset({"buy"}))
LOOKS, ALPHA = 20, 0.05
GAIN, LARGE = 0.02, 0.05
TOLD = ("better", "worse")
TESTS = ("verdict", "fixed horizon", "fixed horizon, any look")
SUMMARY_MS = 50.0


def run(quick: bool) -> Result:
    """100 experiments of 1,000 users and a summary of 100,000 when quick, else 1,000 of 1,000 and 4,000, and of 1 M."""
    sizes, experiments = ((1_000,), 100) if quick else ((1_000, 4_000), 1_000)
    raw: dict[str, Any] = {"looks": LOOKS, "alpha": ALPHA, "experiments": experiments}
    targets = []
    for users in sizes:
        told = {gain: _shares(users, experiments, gain) for gain in (0.0, GAIN, LARGE)}
        raw[f"{users} users"] = {f"{gain} apart": shares for gain, shares in told.items()}
        for name, share in told[0.0]["verdict"].items():
            targets.append(Target(f"{users:,} users: equal arms told apart, {name}", share, ALPHA, "lower"))
        found = told[GAIN]["verdict"]
        power = found["adjusted"] / max(found["plain"], 1 / experiments)
        targets.append(Target(f"{users:,} users: different arms told apart, adjusted over plain", power, 1.0))
    users = 100_000 if quick else 1_000_000
    arms = {arm.name: _drawn(np.random.default_rng(0), users // len(TEN.arms), 0.0) for arm in TEN.arms}
    seconds = interleave({"summary": lambda: compared(TEN, arms, 0)}, rounds=5)["summary"]
    raw["summary"] = {"users": users, "arms": len(TEN.arms), "seconds": seconds}
    targets.append(Target("a summary, share of 50 ms", 1000 * median(seconds) / SUMMARY_MS, 1.0, "lower"))
    reached = {arm: _spent(np.random.default_rng(1), len(counts)) for arm, counts in arms.items()}
    spent = partial(summarise_goals, TEN, [SPENT], {SPENT.name: reached}, True)
    seconds = interleave({"goal": spent}, rounds=5)["goal"]
    raw["goal"] = {"users": users, "arms": len(TEN.arms), "seconds": seconds}
    targets.append(Target("a summary of a goal, share of 50 ms", 1000 * median(seconds) / SUMMARY_MS, 1.0, "lower"))
    return Result("experiments", targets, raw)


def _shares(users: int, experiments: int, gain: float) -> dict[str, dict[str, float]]:
    """By test: how many of the experiments it told apart, without and with the time before."""
    told = np.mean([_told(np.random.default_rng(seed), users, gain) for seed in range(experiments)], 0)
    return {
        test: {"plain": plain, "adjusted": adjusted}
        for test, (plain, adjusted) in zip(TESTS, told.tolist(), strict=True)
    }


def _told(rng: np.random.Generator, users: int, gain: float) -> npt.NDArray[np.bool_]:
    """Of one experiment, a row for each of `TESTS`: whether it told the arms apart, plain and adjusted."""
    verdict, fixed, any_look = np.zeros((3, 2), bool)
    for arms in _looks(rng, users, gain):
        summary, found = compared(AB, arms, 0, ALPHA)
        verdict |= summary.comparisons[0].verdict in TOLD, any(one.verdict in TOLD for one in found)
        fixed = np.array([_fixed({name: _forgotten(counts) for name, counts in arms.items()}), _fixed(arms)])
        any_look |= fixed
    return np.stack([verdict, fixed, any_look])


def _fixed(arms: Mapping[str, UnitCounts]) -> bool:
    """Whether a test that is meant for one look says, with an error of `ALPHA`, that the arms differ."""
    rates = adjusted_rates({name: Moments.of(counts) for name, counts in arms.items()})
    found = RateDifference.of(rates["treatment"], rates["control"])
    return abs(found.value) > NormalDist().inv_cdf(1 - ALPHA / 2) * sqrt(found.variance / found.units)


def _forgotten(counts: UnitCounts) -> UnitCounts:
    """The same users without the time before."""
    nothing = np.zeros_like(counts.clicks_U)
    return UnitCounts(counts.impressions_U, counts.clicks_U, nothing, nothing)


def _looks(rng: np.random.Generator, users: int, gain: float) -> Iterator[dict[str, UnitCounts]]:
    """The counts of both arms at each look; the treatment's users click more by `gain`."""
    arm_U = rng.integers(2, size=users)
    taste_U, busy_U = rng.beta(2, 6, users), 2 * rng.pareto(1.5, users) + 1
    earlier_U = rng.poisson(np.minimum(4 * busy_U, 400))
    liked_U = rng.binomial(earlier_U, taste_U)
    shown_U, clicks_U = np.zeros(users, np.int64), np.zeros(users, np.int64)
    rate_U = np.minimum(taste_U + gain * (arm_U == 1), 1.0)
    for _ in range(LOOKS):
        more_U = rng.poisson(3 * np.minimum(busy_U, 100) / LOOKS)
        shown_U += more_U
        clicks_U += rng.binomial(more_U, rate_U)
        seen = {arm.name: (arm_U == number) & (shown_U > 0) for number, arm in enumerate(AB.arms)}
        columns = (shown_U, clicks_U, earlier_U, liked_U)
        yield {name: UnitCounts(*(column[seen_U] for column in columns)) for name, seen_U in seen.items()}


def _spent(rng: np.random.Generator, users: int) -> npt.NDArray[np.float64]:
    one = np.ones(users)
    return np.stack([one, rng.poisson(0.3, users) * 9.9, one, rng.poisson(0.3, users) * 9.9])


def _drawn(rng: np.random.Generator, users: int, gain: float) -> UnitCounts:
    taste_U: npt.NDArray[np.float64] = np.minimum(rng.beta(2, 6, users) + gain, 1.0)
    shown_U, earlier_U = 1 + rng.poisson(5, users), rng.poisson(20, users)
    return UnitCounts(shown_U, rng.binomial(shown_U, taste_U), earlier_U, rng.binomial(earlier_U, taste_U))
