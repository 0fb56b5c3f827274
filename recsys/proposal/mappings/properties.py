"""Files with a row for each item or user, beside others with what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from recsys.proposal.columns.column import Column
from recsys.proposal.mappings.mapping import Described
from recsys.proposal.roles.roles import Guess, Roles

_SHARE: Final = 0.5
"""Share of the ids in a column that have to be those of another file."""
Owner = Literal["item", "user"]
_OWNERS: Final[tuple[Owner, ...]] = ("item", "user")


def has_properties(one: Described, described: Sequence[Described]) -> bool:
    """Whether a file has properties of items or users, beside others with events."""
    return len(described) > 1 and _of_owners(one)


def only_properties(described: Sequence[Described]) -> bool:
    """Whether the files have properties of items or users, and none has events."""
    return all(not one.sample.native and _of_owners(one) for one in described)


def _of_owners(one: Described) -> bool:
    """Whether each row has another item, or user, and nothing says that it is an event."""
    roles = one.roles
    if "shown" in roles or "marked" in roles or "label" in roles:
        return False
    alone = ("item" in roles) != ("user" in roles) and "request" not in roles
    return alone and roles.found[_owner(one)][0].column.unique


def as_properties(one: Described, described: Sequence[Described]) -> Described:
    """The file with its item or user alone, if its rows are those of other files' items or users, each once.

    So what looks like a label, a rating or a user there is a property: `customer` of an advertisement is no visitor.
    """
    if one.sample.native or {"shown", "marked"} & one.roles.found.keys():
        return one
    if has_properties(one, described):
        role = _owner(one)
        return replace(one, roles=_alone(one, one.roles.found[role][0], role))
    others = [other.roles for other in described if other is not one]
    for known in (_called_alike, _among):
        for role in _OWNERS:
            for name, cells in one.sample.columns.items():
                column = Column(name, cells)
                if column.unique and not column.listed and (reason := known(one, column, role, others)):
                    return replace(one, roles=_alone(one, Guess(column, reason), role))
    return one


def _owner(one: Described) -> Owner:
    return "item" if "item" in one.roles else "user"


def _theirs(role: Owner, others: Sequence[Roles]) -> list[Column]:
    """The columns of other files with such ids, in which they come again."""
    roles = (role, "shown", "marked") if role == "item" else (role,)
    found = [column for of in others for name in roles if (column := of.column(name))]
    return [column for column in found if column.listed or not column.unique]


def _called_alike(one: Described, column: Column, role: Owner, others: Sequence[Roles]) -> str:
    """Why the column of a file without times is that of another file with the same name; empty if it is not."""
    alike = one.roles.reading is None and any(column.name == of.name for of in _theirs(role, others))
    return "it is called as in the other files, and has each value once" if alike and not column.name.isdigit() else ""


def _among(one: Described, column: Column, role: Owner, others: Sequence[Roles]) -> str:
    """Why the values of a column are those of other files, of a file in which nothing is called so; empty if not."""
    if {"item", "user", "request"} & one.roles.found.keys():
        return ""
    elements = [element for of in _theirs(role, others) for element in of.elements]
    known = {element.removesuffix("-0").removesuffix("-1") for element in elements}
    shared = len(known & column.distinct.keys()) > _SHARE * len(column.distinct)
    return f"its values are the {role}s of the other files" if shared else ""


def _alone(one: Described, owner: Guess, role: Owner) -> Roles:
    """The roles of a file of properties: whose they are, and from when on."""
    found: dict[str, Sequence[Guess]] = {role: [owner]}
    if "time" in one.roles:
        found["time"] = one.roles.found["time"]
    taken = {guess.name for guesses in found.values() for guess in guesses}
    columns = [Column(name, cells) for name, cells in one.sample.columns.items() if name.strip()]
    return Roles(found, one.roles.reading, [of for of in columns if of.name not in taken and of.type != "empty"])
