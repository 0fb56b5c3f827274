"""Whether an arm is worse than the first one in what must not get worse.

Differences are adjusted by the same figure of the time before, where there is one, before they are judged
(`serving.experiments.inference.adjusted`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from serving.experiments.assignment import Experiment
from serving.experiments.guardrails import Guardrail
from serving.experiments.inference.adjusted import Floats, Moments, RateDifference, adjusted_rates
from serving.experiments.inference.intervals import FEWEST_OUTCOMES, FEWEST_UNITS, one_sided_width


class GuardrailArm(msgspec.Struct, frozen=True):
    """One arm's figure over its impressions, or places in lists."""

    arm: str
    units: int
    """Users or groups of users with data."""
    figure: float | None


class GuardrailComparison(msgspec.Struct, frozen=True):
    """An arm's figure less that of the first arm."""

    arm: str
    control: str
    difference: float | None
    """Without adjustment."""
    harm: float | None
    """By how much the arm is worse at least, adjusted, with the guardrail's confidence; below 0: maybe not at all."""
    verdict: str
    """`sample ratio broken`, `no data`, `too few data`, `not shown to be worse` or `worse`, which is by more than the
    margin."""


class GuardrailSummary(msgspec.Struct, frozen=True):
    """All arms together are called worse without being so at most as often as `alpha`."""

    name: str
    alpha: float
    margin: float
    arms: list[GuardrailArm]
    comparisons: list[GuardrailComparison]


def summarise_guardrail(
    experiment: Experiment, guardrail: Guardrail, columns: Mapping[str, Floats], sample_ratio_ok: bool
) -> GuardrailSummary:
    """What `columns` show: by arm [4, U], as `GuardrailCounts.columns` has them. The first arm is the control."""
    moments = {name: Moments.of_columns(of[:, of[0] > 0]) for name, of in columns.items()}
    control, *others = (arm.name for arm in experiment.arms)
    shared = guardrail.alpha / max(len(others), 1)
    arms = [
        GuardrailArm(name, one.users, float(one.sums[1] / one.sums[0]) if one.users else None)
        for name, one in ((name, moments[name]) for name in (control, *others))
    ]
    compared = [
        _compare(name, control, moments, guardrail, shared)
        if sample_ratio_ok
        else GuardrailComparison(name, control, None, None, "sample ratio broken")
        for name in others
    ]
    return GuardrailSummary(guardrail.name, guardrail.alpha, guardrail.margin, arms, compared)


def _compare(
    name: str, control: str, moments: Mapping[str, Moments], guardrail: Guardrail, alpha: float
) -> GuardrailComparison:
    arm, other = moments[name], moments[control]
    if not (arm.users and other.users):
        return GuardrailComparison(name, control, None, None, "no data")
    difference = float(arm.sums[1] / arm.sums[0] - other.sums[1] / other.sums[0])
    rare = guardrail.name == "degraded"
    if min(arm.users, other.users) < FEWEST_UNITS or not (rare or (_established(arm) and _established(other))):
        return GuardrailComparison(name, control, difference, None, "too few data")
    if not _established(arm):
        return GuardrailComparison(name, control, difference, None, "not shown to be worse")
    rates = adjusted_rates({name: arm, control: other if _established(other) else other + _FEW})
    found = RateDifference.of(rates[name], rates[control])
    harm = guardrail.worse * found.value - one_sided_width(found.variance, found.units, alpha)
    verdict = "worse" if harm > guardrail.margin else "not shown to be worse"
    return GuardrailComparison(name, control, difference, harm, verdict)


def _established(one: Moments) -> bool:
    """Whether the figure is that of enough units for its variance to be known; large ones count for all (Kish 1965)."""
    squares = one.products[1, 1]
    return bool(squares > 0 and one.sums[1] ** 2 / squares >= FEWEST_OUTCOMES)


_FEW = Moments.of_columns(np.tile([[1.0], [1.0], [0.0], [0.0]], FEWEST_OUTCOMES))
"""Of a control that was hardly ever degraded the variance is not known: it is judged as if these users were, too."""
