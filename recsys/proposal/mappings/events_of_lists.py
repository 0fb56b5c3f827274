"""Lists that nothing joins with clicks, as what users did with each item of them, such as orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from recsys.proposal.columns.column import Column
from recsys.proposal.columns.vocabulary import SHOWN_ACTIONS, tokens
from recsys.proposal.files.nested_rows import unrolled
from recsys.proposal.files.row_kinds import rows_with
from recsys.proposal.mappings.mapping import Described
from recsys.proposal.roles.role_finder import find_roles
from recsys.proposal.roles.roles import Said

_DONE: Final = frozenset("line lines order orders basket baskets cart carts purchase purchases bought sales".split())  # noqa: SIM905
"""Words of files and lists whose items were bought."""
_SEVERAL: Final = 0.1
"""Share of lists of several items below which rows are taken for events of one item, whatever they are called."""
_LISTED: Final = SHOWN_ACTIONS | {"list", "ranking", "recommendations", "recommendation", "results"}
"""Words of actions that say that a list was shown."""


def events_of_lists(one: Described, said: Said) -> Described | None:
    """A row for each item, of the rows whose action is more than that a list was shown; None if there are none.

    A text that is cut into items is no such list: an event has one item, or an object for each.
    """
    lists, action = one.roles.column("shown"), one.roles.column("action")
    if lists is None or "user" not in one.roles or lists.separator:
        return None
    sample = one.sample
    if action is not None:
        if not (words := done_words(action, lists)):
            return None
        sample = rows_with(sample, action, words) if len(words) < len(action.distinct) else sample
    elif not (_one_each(lists) or _DONE.intersection(tokens(f"{one.path.stem} {lists.name}"))):
        return None
    sample = unrolled(sample, lists.name)
    about = replace(said, columns={**said.columns, "item": lists.name}, reason="each of them is an item")
    return replace(one, sample=sample, roles=find_roles(sample, about))


def only_shown(action: Column) -> bool:
    """Whether all actions say no more than that a list was shown."""
    return all(_LISTED.intersection(tokens(word)) for word in action.distinct)


def _one_each(lists: Column) -> bool:
    several = sum(isinstance(value, list | tuple) and len(value) > 1 for value in lists.values)
    return several < _SEVERAL * len(lists.values)


def done_words(action: Column, lists: Column) -> Sequence[str]:
    """The actions that say that something was done, and mostly have items."""
    found = []
    for word in action.distinct:
        rows = [n for n, cell in enumerate(action.cells) if str(cell) == word]
        with_items = sum(bool(lists.cells[n]) and not lists.is_missing(lists.cells[n]) for n in rows)
        if not _LISTED.intersection(tokens(word)) and with_items > len(rows) / 2:
            found.append(word)
    return found
