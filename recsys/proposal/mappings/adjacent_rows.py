"""Rows of one list that stand together without an id: they have the same user and time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from recsys.proposal.columns.column import Column
from recsys.proposal.roles.roles import Roles

_SHARE: Final = 0.5
"""Share of the rows that have to stand beside another one of their list."""


def neighbours_are_lists(roles: Roles) -> bool:
    """Whether most rows stand beside others with the same user and time, and other items, and these come nowhere else.

    Ratings of one moment are no list that was shown, and neither is what a user did on one day.
    """
    columns = [column for role in ("user", "time", "time_of_day", "item") if (column := roles.column(role))]
    fine = roles.reading is not None and (roles.reading.resolution or "time_of_day" in roles)
    if "label" not in roles or "user" not in roles or "item" not in roles or not fine:
        return False
    return not any(column.missing for column in columns) and _stand_together(columns)


def _stand_together(columns: Sequence[Column]) -> bool:
    """Whether rows that are alike in all columns but the last are neighbours, and differ in the last."""
    rows = list(zip(*(column.texts for column in columns), strict=True))
    lists = [(key, [row[-1] for row in own]) for key, own in groupby(rows, key=lambda row: row[:-1])]
    if len({key for key, _ in lists}) < len(lists):
        return False
    several = [items for _, items in lists if len(items) > 1]
    return sum(map(len, several)) >= _SHARE * len(rows) and all(len(set(items)) == len(items) for items in several)
