"""What files lack so that something can be learned from them, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from recsys.proposal.columns.column import Column
from recsys.proposal.columns.vocabulary import CLEARLY, says
from recsys.proposal.mappings.events_of_lists import only_shown
from recsys.proposal.mappings.mapping import Described, ProposedMapping

_WORDS = 6
"""Most actions in a message."""


def undone(mapped: Sequence[ProposedMapping]) -> str:
    """That nothing is positive, and what to give."""
    for one in mapped:
        roles = one.of.roles
        action = roles.column("action") or roles.column("label")
        if action is not None and not only_shown(action):
            words = ", ".join(map(repr, list(action.distinct)[:_WORDS]))
            return (
                f"{one.of.path} has lists of items, of which {action.name!r} says what happened ({words}), and no "
                "column joins lists that were shown with clicks: write the list's id into both (--request)"
            )
    names = " and ".join(str(one.of.path) for one in mapped)
    shown = [column for one in mapped if (column := one.of.roles.column("shown")) and column.type == "list"]
    listed = shown[0].name if shown else ""
    done = (
        f"; if a user did something with every item of a list, such as an order, say --item {listed}" if listed else ""
    )
    return (
        f"nothing in {names} says what the users did with the items: give the file of their clicks as well, or name "
        f"the column that says it with --label COLUMN{done}"
    )


def beside(one: Described, described: Sequence[Described]) -> str:
    """That another file has what this one lacks, by a column of both, and how to join them; empty if there is none."""
    for other in described:
        lacks = [role for role in _NEEDED if _has(role, other) and not _has(role, one)]
        times = other.roles.names("time")
        both = [name for name in one.sample.columns if name in other.sample.columns and name not in times]
        by = next((name for name in both if Column(name, other.sample.columns[name]).unique), "")
        if other is not one and lacks and by:
            what = " and ".join(f"the {role}" for role in lacks)
            return f"; {other.path} has {what} by {by!r}: only a script can join the two{_how(one, other, by)}"
    return ""


_NEEDED: Final[Sequence[Literal["user", "time"]]] = ("user", "time")


def _has(role: Literal["user", "time"], one: Described) -> bool:
    """Whether a file has the role, or a column that is called so: Outbrain's times are counted from the first one."""
    return role in one.roles or any(says(role, name) >= CLEARLY for name in one.sample.columns)


def _how(one: Described, other: Described, by: str) -> str:
    """The script, for files that pandas reads without options."""
    if {path.suffix for path in (one.path, other.path)} != {".csv"} or "delimiter" in one.sample.settings:
        return ""
    read = [f"p.read_csv({str(path)!r})" for path in (one.path, other.path)]
    joined = f"{read[0]}.merge({read[1]}, on={by!r}).to_csv('joined.csv', index=False)"
    return f', such as: python -c "import pandas as p; {joined}", and then give joined.csv'


def elsewhere(one: Described) -> str:
    """That the times may stand in another file, if a column has ids of lists; empty if none has."""
    columns = (Column(name, cells) for name, cells in one.sample.columns.items())
    by = next((of.name for of in columns if says("request", of.name) and not of.unique and of.distinct), "")
    return f"; if another file has the times by {by!r}, give both: then it is said how to join them" if by else ""
