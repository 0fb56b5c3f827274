"""Weights of the tasks by group of users."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from recsys.errors import InvalidValueError
from serving.ranking.task_score import TaskScore
from streaming.events.schema import Features

if TYPE_CHECKING:
    from serving.cache.entity_cache import EntityFeatures
    from serving.ranking.query import Query


class GroupScores:
    """What the items of a user are ranked by: a group is the users with one value of the feature `by`.

    `usual` is for all others. Values are compared as text.

    >>> by_plan = GroupScores(TaskScore({"click": 1.0}), "request.plan", {"gold": {"buy": 1.0}})
    >>> by_plan.of({"plan": "gold"}).tasks, by_plan.of({}).tasks
    (frozenset({'buy'}), frozenset({'click'}))
    """

    def __init__(self, usual: TaskScore, by: str = "", groups: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """Raises InvalidValueError for weights by which nothing can be ranked."""
        self._usual = usual
        self._feature = by.removeprefix("request.")
        self._groups = {value: TaskScore(weights) for value, weights in (groups or {}).items()}

    def told(self, query: Query, entities: EntityFeatures) -> tuple[Query, bool]:
        """The query with the feature that tells the group, the user's latest where none is given: it is logged, too.

        And whether it is up to date.
        """
        name = self._feature
        if not name or name in query.features:
            return query, True
        latest, fresh = entities.user(query.user)
        known = {name: latest[name]} if name in latest else {}
        return replace(query, features=query.features | known), fresh

    def of(self, features: Features) -> TaskScore:
        """By the features of an impression."""
        value = features.get(self._feature)
        return self._usual if value is None else self._groups.get(str(value), self._usual)


def check_groups(by: str, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Raises InvalidValueError, with the setting's name first, unless `by` and `scores` say what groups rank by."""
    if bool(by) != bool(scores):
        one, other = ("score_by", "scores") if by else ("scores", "score_by")
        raise InvalidValueError(f"{one}: has no effect without {other}; set both, or delete it")
    if by and not re.fullmatch(r"request\.\w+", by):
        raise InvalidValueError(f'score_by: {by!r} is no feature of users; write "request.plan", or another')
    for value, weights in scores.items():
        if not any(weights.values()):
            raise InvalidValueError(f"scores: all weights of {value!r} are 0, so all items would rank alike")
