"""Columns of a frame whose names almost say what they are, so that they must not be read as something else."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

import pyarrow as pa

from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.likeness import one_truth, two_valued
from recsys.proposal.columns.vocabulary import CLEARLY, says

_ROLES: Final = ("user", "item", "time", "label", "items", "impression")
_ALIKE: Final = 0.8
_ROWS: Final = 1000


def check_near_names(table: pa.Table, read: Collection[str], what: str) -> None:
    """Raises InvalidValueError for a column that is not `read` as one of the fields and nearly has the name of one.

    `what` says as what the rows would be taken.
    """
    there = {column.partition(".")[0] for column in read}
    for column in table.column_names:
        if column not in read and (role := _role(column, table)) and role not in there:
            raise InvalidValueError(
                f"the column {column!r} looks like {role!r}, and without that name rows are {what}: rename it to "
                f"{role!r}, or give a mapping that says what the columns {', '.join(table.column_names)} are"
            )


def _role(name: str, table: pa.Table) -> str:
    """The field of events that a column is called like; empty for none."""
    values = Column(name, table.column(name).slice(0, _ROWS).to_pylist())
    alike = [role for role in _ROLES if sorted(role) == sorted(name.lower())]
    alike = alike or get_close_matches(name.lower(), _ROLES, 1, _ALIKE)
    truths = two_valued(values) or one_truth(values)
    if truths and (says("label", name) or "label" in alike):
        return "label"
    if alike and alike[0] != "label":
        return alike[0]
    return "user" if says("user", name) >= CLEARLY and not values.listed else ""
