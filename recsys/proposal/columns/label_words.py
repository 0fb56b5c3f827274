"""Columns of words that say whether something was done with a shown item, such as `clicked` and `ignored`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from recsys.proposal.columns.column import Column
from recsys.proposal.columns.vocabulary import (
    ACTIONS,
    DONE,
    NOT_POSITIVE,
    REFUSED,
    SHOWN_ACTIONS,
    UNDONE,
    VERBS,
    VIEWED,
    tokens,
)

_MOST: Final = 8
_LEAST_MISSING: Final = 0.3
"""Share of cells without a value that makes the only word of a column a label."""
_NEGATION: Final = re.compile(r"(no|non|not|un|dis|in)(?=[a-z])|(no|non|not|un|never|without)[\W_]+", re.IGNORECASE)
_NO: Final = REFUSED | (NOT_POSITIVE - UNDONE)
_SEEN: Final = SHOWN_ACTIONS | VIEWED
_YES: Final = DONE | ((ACTIONS | VERBS.keys()) - _NO - _SEEN - UNDONE)


def yes_words(column: Column) -> Sequence[str]:
    """Those of a column's few words that mean yes; empty unless each is known, and others mean no.

    >>> yes_words(Column("outcome", ["ignored", "Clicked", "clicked"])), yes_words(Column("event", ["view", "cart"]))
    (['Clicked', 'clicked'], ['cart'])
    >>> yes_words(Column("clicked", ["clicked", "", ""])), yes_words(Column("kind", ["view", "cart", "order"]))
    (['clicked'], [])
    """
    words = sorted(column.distinct)
    if column.type not in ("text", "integer", "boolean") or column.listed or not 0 < len(words) <= _MOST:
        return []
    if len(words) == 1:
        told = is_yes(words[0]) and column.missing >= _LEAST_MISSING * len(column.cells)
        return words if told else []
    others = {word.lower() for word in words}
    lesser = [word for word in words if _is_no(word, others)]
    if not lesser:
        seen = _SEEN if len(others) == 2 else SHOWN_ACTIONS
        lesser = [word for word in words if seen.intersection(tokens(word))]
    yes = [word for word in words if word not in lesser]
    return yes if lesser and all(is_yes(word) or _negated(word, others) for word in yes) else []


def is_yes(word: str) -> bool:
    """Whether a word says that something was done.

    >>> is_yes("purchased"), is_yes("1"), is_yes("not clicked"), is_yes("view")
    (True, True, False, False)
    """
    found = set(tokens(word))
    return word == "1" or (bool(_YES & found) and not (_NO & found or _SEEN & found))


def is_no(word: str) -> bool:
    """Whether a word says that nothing was done, whatever the other words are.

    >>> is_no("not clicked"), is_no("ignored"), is_no("view")
    (True, True, False)
    """
    return bool(_NO.intersection(tokens(word)))


def _is_no(word: str, others: set[str]) -> bool:
    return is_no(word) or _NEGATION.sub("", word.lower(), count=1) in others - {word.lower()}


def _negated(word: str, others: set[str]) -> bool:
    """Whether another word is the negation of this one."""
    return any(_NEGATION.sub("", one, count=1) == word.lower() for one in others - {word.lower()})


def follow(done: Sequence[bool], things: Sequence[object]) -> bool:
    """Whether rows of what was done come after rows of the same thing with which it was not: then rows are events.

    `things` are users with items. Events of both kinds stand for one shown item there; rows with labels name it once.
    """
    seen: set[object] = set()
    again = {True: 0, False: 0}
    for yes, thing in zip(done, things, strict=True):
        again[yes] += thing in seen
        if not yes:
            seen.add(thing)
    positives = sum(done)
    after_view = again[True] / max(positives, 1)
    usual = again[False] / max(len(done) - positives, 1)
    return after_view > 0.5 and after_view - usual > 0.25
