"""Whether a challenger is better than the champion. Shape suffixes: R rows, L lists, K positions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.evaluation.challenger.auc_difference import auc_difference
from recsys.evaluation.challenger.scored_lists import Floats, ScoredList, ScoredLists
from recsys.evaluation.challenger.varied_orders import VariedOrders
from recsys.evaluation.metrics import log_losses, summarise
from recsys.off_policy.estimates import CERTAIN, Contributions, DrawnLists, Estimate, contributions, mean
from recsys.off_policy.overlap import effective_sample_size, no_overlap
from recsys.off_policy.policies import Policy
from serving.ranking.task_score import TaskScore

Verdict = Literal["better", "worse", "no difference shown", "too little"]
FEWEST_USERS, FEWEST_POSITIVES = 100, 20
"""Below which intervals are not what they say, as in experiments."""
TOP = 3
"""Clicks at so many first positions are what an order is worth."""
_NOTHING = 1e-9
"""What rounding may make of no difference."""


class Figures(msgspec.Struct, frozen=True):
    """How well one model has scored the shown items; None where it is not defined."""

    auc: float | None
    log_loss: float | None
    calibration: float | None
    normalised_entropy: float | None


class OffPolicy(msgspec.Struct, frozen=True):
    """What the challenger's orders would have brought, from lists that were drawn at random."""

    lists: int
    effective: float
    """As how many lists of the challenger's own they say."""
    refused: str
    """Why they say nothing; then there are no estimates."""
    shown: Estimate | None = None
    snips: Estimate | None = None
    dr: Estimate | None = None
    gain: Estimate | None = None
    """DR less what was shown."""


class Judgement(msgspec.Struct, frozen=True):
    """The challenger against the champion, on the same shown items. Differences are the former's less the latter's."""

    verdict: Verdict
    because: list[str]
    """The figures that decided, or what there is too little of."""
    lists: int
    users: int
    items: int
    positives: int
    champions: int
    """Impressions that the champion has ranked: of the others the challenger has no scores."""
    unlabelled: int
    champion: Figures
    challenger: Figures
    auc: Estimate | None
    log_loss: Estimate | None
    off_policy: OffPolicy


def judge(found: ScoredLists, score: Mapping[str, float], policy: Policy | VariedOrders | None) -> Judgement:
    """By what servers rank by (`[serving] score`) and how they order; without a policy orders get no value."""
    lists = found.lists
    rows = _Rows(lists)
    probable = [weight for weight in score.values() if weight] == [1.0]
    auc = rows.auc() if lists else None
    log_loss = rows.log_loss() if lists and probable else None
    value = off_policy(lists, TaskScore(score), list(score), policy, probable=probable)
    users, positives = len({one.user for one in lists}), int(rows.labels_R.sum())
    verdict, because = _verdict(users, positives, auc, log_loss, value.gain)
    return Judgement(
        verdict=verdict,
        because=because,
        lists=len(lists),
        users=users,
        items=len(rows.labels_R),
        positives=positives,
        champions=found.champions,
        unlabelled=found.unlabelled,
        champion=_figures(rows.labels_R, rows.champion_R, probable=probable),
        challenger=_figures(rows.labels_R, rows.challenger_R, probable=probable),
        auc=auc,
        log_loss=log_loss,
        off_policy=value,
    )


def off_policy(
    lists: Sequence[ScoredList],
    score: TaskScore,
    tasks: Sequence[str],
    policy: Policy | VariedOrders | None,
    *,
    probable: bool,
) -> OffPolicy:
    """From the lists that were drawn and show all their candidates.

    DR's model of clicks is the champion, if its scores are chances of clicks.
    """
    if policy is None:
        return OffPolicy(
            0, 0.0, "servers vary lists ([serving] diversity) without drawing them, which is not estimated"
        )
    if isinstance(policy, VariedOrders):
        lists = [one for one in lists if one.values_K is not None]
        if not lists:
            by = policy.diversity.by
            return OffPolicy(0, 0.0, f"lists are varied by {by}, which the log has not: add it to features.fields")
    by_length = defaultdict[int, list[ScoredList]](list)
    for one in lists:
        if len(one.propensities_K) and one.propensities_K.min() < CERTAIN <= one.propensities_K[-1]:
            by_length[len(one.labels_K)].append(one)
    drawn = sum(map(len, by_length.values()))
    if not drawn:
        return OffPolicy(0, 0.0, "no list was drawn at random and shown whole, so the log says nothing of other orders")
    names = {name: number for number, name in enumerate(sorted({one.user for one in lists}))}
    parts = []
    for same in by_length.values():
        orders = policy.policy([one.values_K or () for one in same]) if isinstance(policy, VariedOrders) else policy
        chances_LK = np.stack([one.propensities_K for one in same])
        labels_LK = np.stack([one.labels_K for one in same])
        own_LK = score.share(np.stack([one.challenger_K for one in same]), tasks)
        model_LK = np.stack([one.champion_K for one in same]) if probable else np.zeros_like(labels_LK)
        units_L = np.array([names[one.user] for one in same])
        parts.append(contributions(DrawnLists(chances_LK, labels_LK, units_L), orders, own_LK, model_LK, TOP))
    every = Contributions.joined(parts)
    weights_L = every.weights_LT[:, -1]
    effective, refused = effective_sample_size(weights_L), no_overlap(weights_L)
    if refused:
        return OffPolicy(drawn, effective, refused)
    return OffPolicy(drawn, effective, "", every.logged(), every.snips(), every.dr(), every.gain())


class _Rows:
    """Shown items, one after the other."""

    def __init__(self, lists: Sequence[ScoredList]) -> None:
        nothing = np.zeros(0)
        self.labels_R = np.concatenate([nothing, *(one.labels_K for one in lists)])
        self.champion_R = np.concatenate([nothing, *(one.champion_K for one in lists)])
        self.challenger_R = np.concatenate([nothing, *(one.challenger_K for one in lists)])
        _, numbers_L = np.unique([one.user for one in lists], return_inverse=True)
        self.users_R: npt.NDArray[np.intp] = np.repeat(numbers_L, [len(one.labels_K) for one in lists])

    def auc(self) -> Estimate | None:
        """The difference; None if all labels are equal."""
        found = auc_difference(self.labels_R, self.challenger_R, self.champion_R, self.users_R)
        return found if math.isfinite(found.value) else None

    def log_loss(self) -> Estimate:
        """The mean difference of a row's loss."""
        losses_R = log_losses(self.labels_R, self.challenger_R) - log_losses(self.labels_R, self.champion_R)
        return mean(losses_R, self.users_R)


def _figures(labels_R: Floats, scores_R: Floats, *, probable: bool) -> Figures:
    figures = summarise(labels_R, scores_R).to_json()
    known = {name: figures[name] for name in Figures.__struct_fields__}
    return Figures(**known) if probable else Figures(known["auc"], None, None, None)


def _verdict(
    users: int, positives: int, auc: Estimate | None, log_loss: Estimate | None, gain: Estimate | None
) -> tuple[Verdict, list[str]]:
    """Worse if any figure is, better if any is and none worse: by intervals of 95 %."""
    lacking = [
        f"{count:,} {what}, fewer than {fewest}"
        for count, fewest, what in (
            (users, FEWEST_USERS, "users"),
            (positives, FEWEST_POSITIVES, "positives"),
        )
        if count < fewest
    ]
    if lacking:
        return "too little", lacking
    signs = {
        "AUC": _sign(auc),
        "log loss": -_sign(log_loss),
        "off-policy gain": _sign(gain),
    }
    worse, better = ([name for name, sign in signs.items() if sign == wanted] for wanted in (-1, 1))
    if worse:
        return "worse", worse
    return ("better", better) if better else ("no difference shown", [])


def _sign(one: Estimate | None) -> int:
    """1 if all of the interval is above 0, -1 if all is below, else 0."""
    if one is None or one.low is None or one.high is None:
        return 0
    return int(one.low > _NOTHING) - int(one.high < -_NOTHING)
