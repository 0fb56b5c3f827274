"""What an experiment shows by the event log: the figures of `summary`, and differences adjusted by the time before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from serving.experiments.assignment import Experiment
from serving.experiments.counts.counted_users import UnitCounts
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.goal_summary import GoalSummary, summarise_goals
from serving.experiments.goals import Goal
from serving.experiments.guardrail_summary import GuardrailSummary, summarise_guardrail
from serving.experiments.guardrails import Guardrail
from serving.experiments.inference.adjusted import AdjustedRate, Moments, RateDifference, adjusted_rates
from serving.experiments.inference.intervals import Interval
from serving.experiments.inference.sums import ClickSums
from serving.experiments.summary import Comparison, ExperimentSummary, summarise

_NO_BUCKETS = 1 << 40
"""So many that each user has one of their own, as in the log."""


class AdjustedComparison(msgspec.Struct, frozen=True):
    """An arm's click rate less that of the first arm, both adjusted by what their users did before."""

    arm: str
    control: str
    difference: float
    interval: Interval
    verdict: str
    """`no difference shown`, `better` or `worse`. It takes the place of the unadjusted one."""
    variance_left: float
    """Share of the variance that is left of the unadjusted difference's."""


class LogSummary(msgspec.Struct, frozen=True):
    """By the log. `adjusted` has the comparisons for which there are enough data, if users were seen before `since`."""

    summary: ExperimentSummary
    before: int
    """Since when (event time, ms) impressions counted as the time before."""
    adjusted: list[AdjustedComparison]
    goals: list[GoalSummary]
    guardrails: list[GuardrailSummary]
    exposed_to_several: int
    """Users who were shown more than one arm, and are left out."""
    unknown_arms: int
    """Impressions of arms that the experiment does not have, left out."""


def log_summary(
    experiment: Experiment,
    counts: LogCounts,
    since: int,
    before: int,
    goals: Sequence[Goal] = (),
    guardrails: Sequence[Guardrail] = (),
    alpha: float = 0.05,
) -> LogSummary:
    """What the counts show. The first arm is the control; `alpha` is shared by the other arms, another one by goals."""
    summary, adjusted = compared(experiment, counts.arms(), since, alpha)
    reached = summarise_goals(experiment, goals, counts.goals(), summary.sample_ratio_ok, alpha)
    watched = [
        summarise_guardrail(experiment, one, counts.watched(one.name), summary.sample_ratio_ok) for one in guardrails
    ]
    return LogSummary(summary, before, adjusted, reached, watched, counts.exposed_to_several, counts.unknown_arms)


def compared(
    experiment: Experiment, arms: Mapping[str, UnitCounts], since: int, alpha: float = 0.05
) -> tuple[ExperimentSummary, list[AdjustedComparison]]:
    """The figures of the users of each arm, and adjusted differences as in `LogSummary`."""
    sums = [ClickSums.of(arms[arm.name].impressions_U, arms[arm.name].clicks_U) for arm in experiment.arms]
    summary = summarise(experiment, sums, _NO_BUCKETS, alpha, since)
    return summary, _adjusted(summary, arms, alpha) if summary.sample_ratio_ok else []


def _adjusted(summary: ExperimentSummary, arms: Mapping[str, UnitCounts], alpha: float) -> list[AdjustedComparison]:
    """Of the comparisons that have a verdict, if anything is known of the time before."""
    if not any(counts.earlier_impressions_U.any() for counts in arms.values()):
        return []
    rates = adjusted_rates({name: Moments.of(counts) for name, counts in arms.items()})
    decided = [one for one in summary.comparisons if one.verdict in ("better", "worse", "no difference shown")]
    return [_compare(one, rates[one.arm], rates[one.control], alpha / len(summary.comparisons)) for one in decided]


def _compare(one: Comparison, arm: AdjustedRate, control: AdjustedRate, alpha: float) -> AdjustedComparison:
    found = RateDifference.of(arm, control)
    return AdjustedComparison(
        one.arm, one.control, found.value, found.interval(alpha), found.verdict(alpha), found.variance_left
    )
