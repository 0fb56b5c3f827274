"""What an experiment's counts show."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.inference.intervals import Interval, difference_interval, established, rate_interval
from serving.experiments.inference.sample_ratio import MISMATCH, estimated_users, sample_ratio_p
from serving.experiments.inference.sums import ClickSums


class ArmSummary(msgspec.Struct, frozen=True):
    """Counts of an arm; `ctr` is clicked impressions per impression, None without impressions.

    `users` is an estimate, exact for a few hundred and within a percent for up to half a million.
    """

    name: str
    model: str
    users: int
    impressions: int
    clicks: int
    ctr: float | None
    interval: Interval


class Comparison(msgspec.Struct, frozen=True):
    """An arm's click rate less that of the first arm. All comparisons together have the stated confidence."""

    arm: str
    control: str
    difference: float | None
    interval: Interval
    verdict: str
    """`sample ratio broken`, `too few data`, `no difference shown`, `better` or `worse`."""


class ExperimentSummary(msgspec.Struct, frozen=True):
    """What an experiment's counts show now. Intervals are valid at all times simultaneously, so peeking is allowed.

    They take users as what varies independently, however many impressions each has.
    """

    name: str
    allocation: str
    """Names the split of users. Another salt, arm, model or share is another allocation, counted from zero."""
    since: int | None
    """When counting began (ms since the epoch): later than the experiment did, if Redis has lost its counts. None
    without counts."""
    start: int | None
    """Event time (ms) from which on impressions count, if the experiment has one."""
    end: int | None
    """The same until which they do."""
    arms: list[ArmSummary]
    comparisons: list[Comparison]
    sample_ratio_p: float
    sample_ratio_ok: bool
    """False: users are not distributed as the weights say. There is no verdict until that is explained."""
    confidence: float


def summarise(
    experiment: Experiment, sums: Sequence[ClickSums], buckets: int, alpha: float = 0.05, since: int | None = None
) -> ExperimentSummary:
    """What the sums of the arms show, whose users are counted in this many buckets.

    The first arm is the control. `alpha` is shared by the comparisons with it (Bonferroni), so that with many arms a
    false verdict is no more likely than with two.
    """
    p = sample_ratio_p([arm.units for arm in sums], [arm.weight for arm in experiment.arms], buckets)
    arms = [_arm(arm, counts, buckets, alpha) for arm, counts in zip(experiment.arms, sums, strict=True)]
    shared = alpha / max(len(sums) - 1, 1)
    pairs = zip(experiment.arms[1:], sums[1:], strict=True)
    comparisons = [_compare(arm, counts, experiment.arms[0], sums[0], p >= MISMATCH, shared) for arm, counts in pairs]
    return ExperimentSummary(
        experiment.name,
        experiment.allocation,
        since,
        experiment.start,
        experiment.end,
        arms,
        comparisons,
        p,
        p >= MISMATCH,
        1 - alpha,
    )


def _arm(arm: Arm, sums: ClickSums, buckets: int, alpha: float) -> ArmSummary:
    users, interval = round(estimated_users(sums.units, buckets)), rate_interval(sums, alpha)
    return ArmSummary(arm.name, arm.model, users, sums.impressions, sums.clicks, sums.ctr, interval)


def _compare(
    arm: Arm, sums: ClickSums, control: Arm, control_sums: ClickSums, ratio_ok: bool, alpha: float
) -> Comparison:
    interval = difference_interval(sums, control_sums, alpha)
    difference = None if sums.ctr is None or control_sums.ctr is None else sums.ctr - control_sums.ctr
    verdict = _verdict(sums, control_sums, interval) if ratio_ok else "sample ratio broken"
    return Comparison(arm.name, control.name, difference, interval, verdict)


def _verdict(sums: ClickSums, control: ClickSums, interval: Interval) -> str:
    if interval[0] > 0:
        return "better"
    if interval[1] < 0:
        return "worse"
    return "no difference shown" if established(sums) and established(control) else "too few data"
