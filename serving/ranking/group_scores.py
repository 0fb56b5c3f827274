"""Weights of the tasks by group of users."""

from __future__ import annotations

from collections.abc import Mapping

from serving.ranking.task_score import TaskScore
from streaming.events.schema import Features


class GroupScores:
    """What the items of a user are ranked by: a group is the users with one value of the feature `by`.

    `usual` is for all others. Values are compared as text.

    >>> by_plan = GroupScores(TaskScore({"click": 1.0}), "request.plan", {"gold": {"buy": 1.0}})
    >>> by_plan.of({"plan": "gold"}).tasks, by_plan.of({}).tasks
    (frozenset({'buy'}), frozenset({'click'}))
    """

    def __init__(self, usual: TaskScore, by: str = "", groups: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """Raises InvalidValueError for weights by which nothing can be ranked."""
        self.usual = usual
        self.feature = by.removeprefix("request.")
        """Empty: all users are ranked for alike."""
        self._groups = {value: TaskScore(weights) for value, weights in (groups or {}).items()}

    def of(self, features: Features) -> TaskScore:
        """By the features of an impression."""
        value = features.get(self.feature)
        return self.usual if value is None else self._groups.get(str(value), self.usual)
