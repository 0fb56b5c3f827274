"""What the orders of every arm would have brought, where the log's own orders were drawn at random.

Shape suffixes: R rows of the first task, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluation.replay.drawn_lists import ListsOfReplay, drawn_lists
from recsys.evaluation.replay.replay_result import OrderResult, Orders
from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.evaluation.replay.training_pass import Scored
from recsys.off_policy.estimates import Contributions, Estimate, contributions
from recsys.off_policy.overlap import effective_sample_size, no_overlap
from recsys.off_policy.policies import Policy
from serving.ranking.task_score import TaskScore
from streaming.encode.row_keys import shown_items

TOPS = (1, 3)
"""Clicks are counted in so many first positions."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How serving orders by a model's probabilities."""

    tasks: Sequence[str]
    score: TaskScore
    policy: Policy
    user_field: str | None

    def shares(self, scores_RT: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """What shown items [R] are ordered by, from their probabilities of each task."""
        return self.score.share(self.score.of(scores_RT, self.tasks), self.tasks)


def _rows_of_items(rows: ScoredRows, tasks: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Numbers [R, T] of the rows of the first task's items in each task, and whether the item [R] has one in all."""
    every = rows.slice(0, len(rows))
    keys = shown_items(every.keys_B)
    wanted_R = keys[rows.places(0)]
    at_RT = np.zeros((len(wanted_R), tasks), np.int64)
    for task in range(tasks):
        places = rows.places(task)
        if len(places):
            order = places[np.argsort(keys[places])]
            at_RT[:, task] = order[np.minimum(np.searchsorted(keys[order], wanted_R), len(order) - 1)]
    of_item_RT = (keys[at_RT] == wanted_R[:, None]) & (every.tasks_B[at_RT] == np.arange(tasks))
    return at_RT, of_item_RT.all(1)


def orders(rows: ScoredRows, scored: Sequence[Scored], rule: Rule) -> Orders | None:
    """None if no list was drawn at random. The frozen arm, which comes first, is DR's model of clicks."""
    at_RT, whole_R = _rows_of_items(rows, len(rule.tasks))
    lists = drawn_lists(rows.of_task(0), rule.user_field, whole_R)
    if not lists.count + lists.cut_short + lists.incomplete:
        return None
    model_R = scored[0].scores_R[rows.places(0)].astype(np.float64)
    found = []
    for one in scored if lists.count else ():
        shares_R = rule.shares(one.scores_R[at_RT])
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
