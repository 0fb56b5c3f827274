"""Files that are called after what was done in each of their rows, such as `views.csv` and `purchases.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsys.proposal.columns.vocabulary import ACTIONS, NOT_POSITIVE, SHOWN_ACTIONS, VERBS, tokens
from recsys.proposal.mappings.mapping import Noted, ProposedMapping


def add_file_actions(mapped: Sequence[ProposedMapping]) -> None:
    """The action of each file without a column of actions, if several files are called after different ones."""
    able = [one for one in mapped if one.kind in ("interaction", "feedback") and _unsaid(one)]
    actions = [file_action(one.of.path) for one in able]
    if len({action for action in actions if action}) < 2:
        return
    for one, action in zip(able, actions, strict=True):
        if action:
            one.settings["action"] = Noted(action, "the file is called so")
            refused = (SHOWN_ACTIONS | NOT_POSITIVE).intersection(tokens(action))
            one.positive = None if refused else Noted([action], "each file has one action; leave the ones that count")


def _unsaid(one: ProposedMapping) -> bool:
    return not any(name.partition(".")[0] in ("action", "actions", "value") for name in one.columns)


def file_action(path: Path) -> str:
    """The action that a file's name tells, or that of its folder; empty if none or several do.

    >>> [file_action(Path(name)) for name in ("views.csv", "a/purchases/part-0.parquet", "clicks_and_buys.csv")]
    ['view', 'purchase', '']
    """
    for name in (path.name.partition(".")[0], path.absolute().parent.name):
        found = {action for word in tokens(name) if (action := _action(word))}
        if found:
            return found.pop() if len(found) == 1 else ""
    return ""


def _action(word: str) -> str:
    known = ACTIONS | VERBS.keys()
    one = next((form for form in (word.removesuffix("s"), word.removesuffix("es"), word) if form in known), "")
    return VERBS.get(one, one)
