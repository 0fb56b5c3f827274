"""Rows that name several items: a row for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.bracketed import bracketed, is_bracketed
from streaming.ingest.mapping.column_mapping import Mapping, columns_of

_OF_EVENTS: Final = frozenset(
    {"time", "time_of_day", "action", "value", "item_features", "actions", "scores", "propensities"}
)


class NestedItems:
    """Cells of rows whose item is a list, as the orders of analytics and sessions with their events are written.

    Beside the item, a list of the same length has a value for each item if it says when or what happened with it, or
    stands in the same objects (`items.price` beside `items.item_id`).
    """

    def __init__(self, mapping: Mapping) -> None:
        self._items = [mapping.names.index(column) for column in columns_of(mapping.columns["item"])]
        parents = {column.rpartition(".")[0] for column in columns_of(mapping.columns["item"])} - {""}
        roots = {column.partition(".")[0] for column in columns_of(mapping.columns["item"]) if column.count(".") > 1}
        self._beside = {
            mapping.names.index(column)
            for field, columns in mapping.columns.items()
            for column in columns_of(columns)
            if field.partition(".")[0] in _OF_EVENTS
            or column.rpartition(".")[0] in parents
            or column.partition(".")[0] in roots
        }.union(self._items)

    def is_list(self, cells: Sequence[Any]) -> bool:
        """Whether the row names its item by a list."""
        return bool(cells) and any(isinstance(_list(cells[place]), list | tuple) for place in self._items)

    def rows(self, cells: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """The cells for each item; once, without one, if the list is empty."""
        if not self.is_list(cells):
            yield cells
            return
        cells = [_list(cell) for cell in cells]
        listed = next((cells[place] for place in self._items if cells[place] not in (None, "", [])), [None])
        count = len(listed) if isinstance(listed, list | tuple) else 1
        cut = {n for n in self._beside if isinstance(cells[n], list | tuple) and len(cells[n]) == count}
        for k in range(count):
            yield [cell[k] if n in cut else None if cell == [] else cell for n, cell in enumerate(cells)]


def _list(cell: Any) -> Any:
    """The list that pandas has written as text; any other cell as it is."""
    if type(cell) is not str or cell[:1] != "[" or not is_bracketed(cell, "|"):
        return cell
    try:
        return bracketed(cell)
    except InvalidValueError:
        return cell
