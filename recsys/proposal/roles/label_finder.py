"""Which columns say what became of a shown item, and which of their values mean yes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.label_words import follow, is_no, yes_words
from recsys.proposal.columns.likeness import FALSE, names_things, odd_cells, property_of, two_valued
from recsys.proposal.columns.vocabulary import CLEARLY, NOT_POSITIVE, Role, known, says, tokens
from recsys.proposal.roles.roles import Guess, Said

_MOST_GRADES: Final = 6
_SHOWN_VALUES: Final = 8
"""Most values in a message."""


def find_labels(columns: Sequence[Column], said: Said, path: Path) -> list[Guess]:
    """The columns of labels, the clearest name first. Raises InvalidValueError if no column has what means yes."""
    if said.positive:
        able = [one for one in columns if set(said.positive) <= one.distinct.keys() and len(one.distinct) > 1]
        if not able:
            words = " and ".join(map(repr, said.positive))
            raise InvalidValueError(f"--positive: no column of {path} has {words} and other values; see recsys inspect")
        best = max(able, key=lambda one: says("label", one.name) + says("action", one.name))
        return [Guess(best, said.reason, said.positive)]
    labels = {one.name: says("label", one.name) or float(_not_refused(one.name)) for one in columns}
    named = sorted((one for one in columns if labels[one.name]), key=lambda one: -labels[one.name])
    guesses = [guess for guess in map(_label, [*named, *(one for one in columns if not labels[one.name])]) if guess]
    found = [
        one
        for one in guesses
        if labels[one.name] == 3 or two_valued(one.column) or not (one.yes and _events(one, columns))
    ]
    found = [one for one in found if labels[one.name] >= CLEARLY or not property_of_any(one.column, columns)]
    return [one for one in found if labels[one.name]] or found[:1] or _by_value(columns)


def _by_value(columns: Sequence[Column]) -> list[Guess]:
    """The only column of 0 and 1 in a file whose header has no word that is known: it is in another language."""
    able = [one for one in columns if two_valued(one) and not one.name.isdigit()]
    if len(able) != 1 or any(known(one.name) for one in columns):
        return []
    return [Guess(able[0], "the only column of 0 and 1; no name in the header is known")]


def yes_of(column: Column, positive: Sequence[str], path: Path) -> Sequence[str]:
    """The values that mean yes in a label; none where numbers above 0 do.

    Raises InvalidValueError for one whose values say nothing, unless `positive` has those that mean yes.
    """
    # JSON has them in lower case
    truths = {word.lower(): word for word in column.distinct if word in ("True", "False")}
    said = [truths.get(value, value) for value in positive]
    known = [value for value in said if value in column.distinct] or yes_words(column)
    if known or column.type in ("boolean", "number") or len(column.distinct) < 2:
        return known
    if column.type == "integer" and min(column.numbers) <= 0:
        return []
    values = [repr(value) for value in list(column.distinct)[:_SHOWN_VALUES]]
    such = column.distinct.most_common()[-1][0]
    raise InvalidValueError(
        f"{path}: the label {column.name!r} has the values {', '.join(values)}, and only you know which mean yes: say "
        f"so, such as --label {column.name} --positive {such!r} (if it is no label, call the column otherwise)"
    )


def check_words(columns: Sequence[Column], path: Path) -> None:
    """Raises InvalidValueError for the column called label that has two values, neither of which says yes."""
    for column in columns:
        if says("label", column.name) == 3 and len(column.distinct) == 2 and column.type in ("text", "integer"):
            yes_of(column, (), path)


def check_clean(columns: Sequence[Column], path: Path) -> None:
    """Raises InvalidValueError for a column that is called as a label and is one but for a few of its cells."""
    for column in columns:
        if says("label", column.name) >= CLEARLY and (odd := odd_cells(column)):
            usual = [word for word in column.distinct if word not in odd]
            yes = yes_words(Column(column.name, usual)) or [max(usual, key=lambda word: (word not in FALSE, word))]
            count, words = sum(odd.values()), ", ".join(map(repr, list(odd)[:_SHOWN_VALUES]))
            raise InvalidValueError(
                f"{path}: {column.name!r} looks like a label, but {count:,} of the first {len(column.values):,} values "
                f"are neither {' nor '.join(map(repr, sorted(usual)))}: {words}; correct them, or say --label "
                f"{column.name} --positive {yes[0]} if every other value means no"
            )


def _not_refused(name: str) -> bool:
    """Whether a name says that something was not refused, such as `not_skipped`."""
    words = set(tokens(name))
    return "not" in words and bool(NOT_POSITIVE & words)


def _label(column: Column) -> Guess | None:
    if two_valued(column):
        if {"skip", "skipped"}.intersection(tokens(column.name)) and not _not_refused(column.name):
            false = next(text for text in column.distinct if text.lower() in FALSE)
            return Guess(column, f"{false!r} is taken for yes: it was not skipped", [false])
        named = bool(says("label", column.name) or _not_refused(column.name))
        return Guess(column, "two values, and its name says what the user did") if named else None
    if says("label", column.name) == 3 and _graded(column):
        return Guess(column, "grades, of which those above 0 mean yes")
    yes = yes_words(column)
    no = [word for word in column.distinct if word not in yes]
    if not yes:
        return None
    other = ", ".join(map(repr, no[:_SHOWN_VALUES])) or "a missing value"
    return Guess(column, f"{', '.join(map(repr, yes[:_SHOWN_VALUES]))} is taken for yes, {other} for no", yes)


def _graded(column: Column) -> bool:
    """Whether the values are grades from 0 up, as of the relevance of search results."""
    return column.type == "integer" and 2 < len(column.distinct) <= _MOST_GRADES and min(column.numbers) == 0


def _events(guess: Guess, columns: Sequence[Column]) -> bool:
    """Whether rows are events of several kinds, rather than shown items with a label that no name tells."""
    if all(is_no(word) for word in guess.column.distinct if word not in guess.yes):
        return False
    keys = [_key("user", columns), _key("item", columns)]
    if None in keys:
        return True
    things = list(zip(*(key.cells for key in keys if key is not None), strict=True))
    return follow([str(cell) in guess.yes for cell in guess.column.cells], things)


def property_of_any(column: Column, columns: Sequence[Column], roles: Sequence[Role] = ("user", "item")) -> bool:
    """Whether a column says what a user or an item is like, and not what happened: it has one value for each."""
    keys = [_key(role, [one for one in columns if one is not column]) for role in roles]
    return any(property_of(column, key) for key in keys if key is not None)


def _key(role: Role, columns: Sequence[Column]) -> Column | None:
    """The column whose name says the role most clearly."""
    named = [one for one in columns if names_things(one) and says(role, one.name)]
    return max(named, key=lambda one: says(role, one.name), default=None)
