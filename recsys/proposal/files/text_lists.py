"""Columns of text whose cells are lists as pandas and NumPy write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.bracketed import bracketed, is_bracketed
from streaming.ingest.mapping.column_mapping import NULLS


def lists_of(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells as lists, if all that are not missing are text in brackets; else as they are.

    >>> lists_of(["[1, 2]", "", "['a']"]), lists_of(["[1]", "b"])
    ([['1', '2'], None, ['a']], ['[1]', 'b'])
    """
    there = [cell for cell in cells if not (cell is None or (isinstance(cell, str) and cell in NULLS))]
    if not there or not all(isinstance(cell, str) and is_bracketed(cell, "|") for cell in there):
        return cells
    try:
        return [None if cell is None or cell in NULLS else bracketed(cell) for cell in cells]
    except InvalidValueError:
        return cells
