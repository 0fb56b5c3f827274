"""Columns from which a model would learn the answer instead of the users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from recsys.proposal.columns.column import Column

_CHANCE: Final = 1e-6
"""Probability below which rows that are all positive are no chance."""
_BINS: Final = 32
"""Ranges of about equally many numbers, which count as one value each."""
_LIFT: Final = 2.0
_LEAST: Final = 30
"""Fewest pairs of rows from which something is concluded."""


def tells_label(column: Column, positive: Sequence[bool]) -> bool:
    """Whether rows with one of the commonest values, with any other, or with any value at all, are all positive.

    So it is with what is known only after the click, such as the price of a booking. By chance n rows are so with
    probability p^n, where p is the share of positive rows.

    >>> tells_label(Column("paid", ["", "", "", "9"] * 20), [False, True, False, True] * 20)
    True
    """
    cells = [None if column.is_missing(cell) else str(cell) for cell in column.cells[: len(positive)]]
    rate = sum(positive) / max(len(cells), 1)
    counts, yes = Counter(cells), Counter(cell for cell, done in zip(cells, positive, strict=False) if done)
    values = [value for value, _ in counts.most_common(_BINS)]
    sides = [(counts[value], yes[value]) for value in values]
    sides += [(len(cells) - count, sum(positive) - done) for count, done in sides]
    return any(count == done and rate**count < _CHANCE for count, done in sides)


def tells_item(column: Column, item: Column, user: Column) -> bool:
    """Whether a column says more of the item in its row than of the user.

    That is so if two rows of one item, of different users, have the same value more often than two rows of one user
    with different items, and more than twice as often as any two rows. As a feature of the request it would tell
    which of the items shown was the one chosen.
    """
    missing = [of.is_missing(cell) for of in (column, item, user) for cell in of.cells]
    count = len(column.cells)
    kept = [n for n in range(count) if not (missing[n] or missing[count + n] or missing[2 * count + n])]
    values = _binned([column.cells[n] for n in kept], numeric=column.type in ("integer", "number"))
    items, users = [str(item.cells[n]) for n in kept], [str(user.cells[n]) for n in kept]
    both = _pairs(zip(items, users, strict=True))
    all_three = _pairs(zip(values, items, users, strict=True))
    of_item, of_user = _pairs(items) - both, _pairs(users) - both
    if of_item < _LEAST:
        return False
    same_item = (_pairs(zip(values, items, strict=True)) - all_three) / of_item
    same_user = (_pairs(zip(values, users, strict=True)) - all_three) / max(of_user, 1)
    same = _pairs(values) / _pairs([0] * len(kept))
    return same_item > same_user and same_item > _LIFT * same


def _binned(values: Sequence[Any], *, numeric: bool) -> list[Any]:
    """Texts, or of many different numbers the ranges they are in."""
    if not numeric or len(set(values)) <= _BINS:
        return [str(value) for value in values]
    numbers = [float(value) for value in values]
    ranks = {number: rank for rank, number in enumerate(sorted(numbers))}
    return [ranks[number] * _BINS // len(numbers) for number in numbers]


def _pairs(values: Iterable[Any]) -> int:
    """How many pairs of rows have the same value."""
    return sum(count * (count - 1) // 2 for count in Counter(values).values())
