"""What the orders of every arm would have brought, where the log's own orders were drawn at random.

Shape suffixes: R rows of the first task, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluation.replay.drawn_lists import ListsOfReplay, drawn_lists
from recsys.evaluation.replay.result import OrderResult, Orders
from recsys.evaluation.replay.run import Scored
from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.off_policy.estimates import Contributions, Estimate, contributions
from recsys.off_policy.overlap import effective_sample_size, no_overlap
from recsys.off_policy.policies import Policy
from serving.ranking.task_score import TaskScore

TOPS = (1, 3)
"""Clicks are counted in so many first positions."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How serving orders by a model's probabilities."""

    tasks: Sequence[str]
    score: TaskScore
    policy: Policy
    user_field: str | None

    def shares(self, rows: ScoredRows, scored: Scored) -> npt.NDArray[np.float64]:
        """What the rows [R] of the first task are ordered by; NaN for an item that has no row of another task."""
        keys_R = rows.slice(0, len(rows)).keys_B & _ITEM
        first_R = keys_R[rows.places(0)]
        by_task = [_looked_up(first_R, keys_R, scored.scores_R, rows.places(task)) for task in range(len(self.tasks))]
        return self.score.share(self.score.of(np.stack(by_task, 1), self.tasks), self.tasks)


_ITEM = (1 << 58) - 1
"""The part of a row's key that says which shown item it is of."""


def _looked_up(
    wanted_R: npt.NDArray[np.int64],
    keys_R: npt.NDArray[np.int64],
    scores_R: npt.NDArray[np.float32],
    places: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """The scores at those `places` that have the wanted keys; NaN where none has."""
    if not len(places):
        return np.full(len(wanted_R), np.nan)
    order = places[np.argsort(keys_R[places])]
    at_R = order[np.minimum(np.searchsorted(keys_R[order], wanted_R), len(order) - 1)]
    return np.where(keys_R[at_R] == wanted_R, scores_R[at_R].astype(np.float64), np.nan)


def orders(rows: ScoredRows, scored: Sequence[Scored], rule: Rule) -> Orders | None:
    """None if no list was drawn at random. The frozen arm, which comes first, is DR's model of clicks."""
    lists = drawn_lists(rows.of_task(0), rule.user_field, np.isfinite(rule.shares(rows, scored[0])))
    if not lists.count + lists.cut_short + lists.incomplete:
        return None
    model_R = scored[0].scores_R[rows.places(0)].astype(np.float64)
    found = []
    for one in scored if lists.count else ():
        shares_R = rule.shares(rows, one)
        found += [_judged(one.arm.name, lists, rule.policy, shares_R, model_R, top) for top in TOPS]
    return Orders(lists.count, lists.cut_short, lists.incomplete, found)


def _judged(
    arm: str,
    lists: ListsOfReplay,
    policy: Policy,
    shares_R: npt.NDArray[np.float64],
    model_R: npt.NDArray[np.float64],
    top: int,
) -> OrderResult:
    every = Contributions.joined(
        [contributions(drawn, policy, shares_R[at_LK], model_R[at_LK], top) for at_LK, drawn in lists.by_length]
    )
    weights_L = every.weights_LT[:, -1]
    refused = no_overlap(weights_L)
    return OrderResult(
        arm=arm,
        top=top,
        effective_lists=round(effective_sample_size(weights_L), 1),
        logged=_rounded(every.logged()),
        refused=refused,
        ips=None if refused else _rounded(every.ips()),
        snips=None if refused else _rounded(every.snips()),
        dr=None if refused else _rounded(every.dr()),
        gain=None if refused else _rounded(every.gain()),
    )


def _rounded(estimate: Estimate) -> Estimate:
    """Six digits, as all figures of a replay."""
    low, high = (None if bound is None else round(bound, 6) for bound in (estimate.low, estimate.high))
    return Estimate(round(estimate.value, 6), low, high)
