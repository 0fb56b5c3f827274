"""What the values of a column may stand for."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from recsys.proposal.columns.column import Column
from recsys.proposal.columns.label_words import is_no, is_yes
from recsys.proposal.columns.vocabulary import CLEARLY, FALSE_WORDS, TRUTHS, says

_LEAST: Final = 10
_NEARLY: Final = 0.95
_CHANCE: Final = 1e-6
"""Probability below which nothing is chance."""
_KINDS: Final = 20
"""Different values that a column such as `device` may have in any number of rows."""
FALSE: Final = frozenset({"0", "-1", *FALSE_WORDS})


def two_valued(column: Column) -> bool:
    """Whether the values are 0 and 1, -1 and 1, or yes and no."""
    return column.type in ("boolean", "integer") and set(column.numbers) in ({0, 1}, {-1, 1})


def odd_cells(column: Column) -> Counter[str]:
    """The values that are no numbers beside two that mean yes and no, if these are nearly all; how often each occurs.

    >>> odd_cells(Column("clicked", ["0", "1"] * 50 + ["maybe"]))
    Counter({'maybe': 1})
    """
    usual = [word for word, _ in column.distinct.most_common(2)]
    odd = Counter({word: count for word, count in column.distinct.items() if word not in usual})
    rare = sum(odd.values()) <= (1 - _NEARLY) * len(column.values)
    mixed = column.type in ("text", "other") and not column.separator
    return odd if rare and mixed and two_valued(Column(column.name, usual)) else Counter()


def one_truth(column: Column) -> bool:
    """Whether all values are the same one of those, or of the words for them."""
    words = {text.lower() for text in column.distinct}
    return len(words) == 1 and (words <= FALSE | TRUTHS.keys() or any(is_yes(word) or is_no(word) for word in words))


def few(column: Column) -> bool:
    """Whether there are so few different values as kinds of things have, and not things."""
    rows = len(column.values)
    return len(column.distinct) <= max(min(_KINDS, rows // 4), rows // 50)


def identifies(column: Column) -> bool:
    """Whether values may be names of users: of a column that is called so, any but yes and no; else more than kinds."""
    if says("user", column.name) >= CLEARLY:
        return not (two_valued(column) or column.type == "boolean")
    return not (few(column) or column.unique)


def chosen_of(column: Column, lists: Column) -> bool:
    """Whether a column names an item of the list in its row, and not always the first."""
    if column.listed or column.type not in ("integer", "text") or len(column.distinct) <= _KINDS // 4:
        return False
    rows = [(str(cell), elements(cells, lists.separator)) for cell, cells in zip(column.cells, lists.cells, strict=True)
            if not column.is_missing(cell) and not lists.is_missing(cells)]  # fmt: skip
    rows = [(cell, own) for cell, own in rows if len(own) > 1]
    inside = sum(cell in own for cell, own in rows)
    first = sum(cell == own[0] for cell, own in rows)
    return len(rows) >= _LEAST and inside >= _NEARLY * len(rows) and first < _NEARLY * len(rows)


def elements(cell: Any, separator: str) -> list[str]:
    """The items of one list, whose cell may be text."""
    parts = cell.split(separator) if isinstance(cell, str) and separator else cell
    return [str(part).strip() for part in parts] if isinstance(parts, list | tuple) else []


def depends(column: Column, on: Column) -> bool:
    """Whether `on` comes again, and always with the same value of the column."""
    seen: dict[str, str] = {}
    pairs = zip(map(str, on.cells), map(str, column.cells), strict=True)
    return not on.unique and all(seen.setdefault(key, cell) == cell for key, cell in pairs)


def property_of(column: Column, on: Column) -> bool:
    """Whether each value of `on` has one value of the column, more often than by chance.

    Rows that come again have the value of the first one; if values were drawn anew, n of them would all do so with
    probability p^n, where p is how often two rows of the file have the same value.

    >>> property_of(Column("stars", [3, 4, 5] * 20), Column("hotel", [1, 2, 3] * 20))
    True
    """
    alike = sum((count / len(column.values)) ** 2 for count in column.distinct.values())
    again = len(on.values) - len(on.distinct)
    return depends(column, on) and alike**again < _CHANCE


def names_things(column: Column) -> bool:
    """Whether the values may be ids: short texts or whole numbers."""
    written = column.type == "number" and all(isinstance(value, str) for value in column.values)
    if column.listed or not (written or column.type in ("integer", "text")):
        return False
    return sum(map(len, column.texts)) <= 64 * len(column.texts) and not any("\n" in text for text in column.distinct)
