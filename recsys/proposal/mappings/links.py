"""Which column of one file has the ids of the lists in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.vocabulary import CLEARLY, says
from recsys.proposal.mappings.mapping import Described
from recsys.proposal.roles.roles import Guess
from streaming.ingest.mapping.values import identifier

_OVERLAP = 0.3
"""Share of the ids in one file that have to be among those of another, unless both columns are called alike."""


def link_to_lists(one: Described, lists: Sequence[Described]) -> tuple[int, str, str]:
    """Which of the lists `one` belongs to, their column of ids, and that of `one`.

    Columns with the same name, and those that are called so, go before others. Raises InvalidValueError for none.
    """
    best: tuple[float, int, str, str] = (0.0, 0, "", "")
    for n, other in enumerate(lists):
        for column in _ids(other):
            known = _identifiers(column)
            for name, cells in one.sample.columns.items():
                own = _identifiers(Column(name, cells))
                same = len(own & known) / len(own) if own else 0.0
                called = name == column.name and says("request", name) >= CLEARLY and one.path != other.path
                if same >= _OVERLAP or called:  # the first rows of many parts may be of different lists
                    told = (name == column.name) + (name in one.roles.names("request")) / 2
                    listed = column.name in other.roles.names("request")
                    best = max(best, (same + told + listed / 2, n, column.name, name))
    if best[0]:
        return best[1:]
    raise InvalidValueError(
        f"{one.path}: no column has the ids of the lists in {lists[0].path}; name the columns with the id in both with "
        "--request COLUMN, or give the two files apart"
    )


def with_ids(lists: Described, name: str) -> Described:
    """The lists with their ids in the column that other files name."""
    if lists.roles.names("request") == [name]:
        return lists
    column = Column(name, lists.sample.columns[name])
    found = {**lists.roles.found, "request": [Guess(column, "has the ids that other rows name")]}
    others = [other for other in lists.roles.others if other.name != name]
    return replace(lists, roles=replace(lists.roles, found=found, others=others))


def _ids(lists: Described) -> list[Column]:
    """Columns with another value in each row, and the one that is called so."""
    named = lists.roles.names("request")
    taken = {guess.name for role, found in lists.roles.found.items() if role != "request" for guess in found}
    columns = [Column(name, cells) for name, cells in lists.sample.columns.items() if name not in taken]
    return [one for one in columns if one.name in named or (one.unique and not one.listed)]


def _identifiers(column: Column) -> set[str]:
    if column.type not in ("integer", "number", "text"):
        return set()
    found = set()
    for value in column.values:
        try:
            found.add(identifier(value, ()) or "")
        except InvalidValueError:
            return set()
    return found
