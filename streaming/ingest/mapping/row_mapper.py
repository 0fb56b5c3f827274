"""The fields of a row, by name."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.column_mapping import TIME_OF_DAY, Mapping, columns_of
from streaming.ingest.mapping.converters import Convert, converter

_COMPOSED: Final = ("id", "impression")
Read = Callable[[Sequence[Any]], Any]


class RowMapper:
    """Reads the fields of rows, which are cells in the order of `mapping.names`."""

    def __init__(self, mapping: Mapping) -> None:
        self._constant = {"type": mapping.kind} | ({"action": mapping.action} if mapping.action else {})
        self._plain: dict[str, Read] = {}
        self._direct: list[tuple[str, int, Convert]] = []
        self._combined: list[tuple[str, Read]] = []
        self._nested: dict[str, dict[str, Read]] = {"features": {}} if mapping.kind in ("user", "item") else {}
        for field, columns in mapping.columns.items():
            parent, dot, child = field.partition(".")
            places = [(mapping.names.index(column), column) for column in columns_of(columns)]
            convert = converter(mapping, field)
            read = _reader(field, places, convert)
            if dot:
                self._nested.setdefault(parent, {})[child] = read
                continue
            self._plain[field] = read
            if field in ("time", TIME_OF_DAY) and TIME_OF_DAY in mapping.columns:
                continue
            if len(places) == 1:
                self._direct.append((field, places[0][0], convert))
            else:
                self._combined.append((field, read))
        if TIME_OF_DAY in mapping.columns:
            self._combined.append(("time", _sum(self._plain["time"], self._plain[TIME_OF_DAY])))

    def fields(self, cells: Sequence[Any]) -> dict[str, Any]:
        """The row's fields by name, without those that are missing, and its kind as `type`: of a kind of event the
        event as its JSON would be decoded. `actions` has by name whether the action happened, in a list the items.

        Raises InvalidValueError for a value that an event cannot hold; everything else is checked when the event
        is decoded.
        """
        event: dict[str, Any] = self._constant.copy()
        try:
            for field, place, convert in self._direct:
                if (value := convert(cells[place])) is not None:
                    event[field] = value
        except InvalidValueError:
            for read in self._plain.values():  # again, for an error that names field and column
                read(cells)
            raise
        for field, read in self._combined:
            if (value := read(cells)) is not None:
                event[field] = value
        for parent, children in self._nested.items():
            event[parent] = {child: read(cells) for child, read in children.items()}
        return event

    def has_time(self, cells: Sequence[Any]) -> bool:
        """Whether the cells have a time that can be read, if there is a column of times."""
        try:
            return "time" not in self._plain or self._plain["time"](cells) is not None
        except InvalidValueError:
            return False


def _reader(field: str, places: Sequence[tuple[int, str]], convert: Convert) -> Read:
    """The value of a field from a row's cells; None when it is missing."""

    def single(cells: Sequence[Any], place: int, column: str) -> Any:
        try:
            return convert(cells[place])
        except InvalidValueError as error:
            raise InvalidValueError(f"{field}: {reprlib.repr(cells[place])} in column {column!r} {error}") from None

    def composed(cells: Sequence[Any]) -> Any:
        parts = [single(cells, place, column) for place, column in places]
        return None if None in parts else ":".join(parts)

    def first(cells: Sequence[Any]) -> Any:
        found = (single(cells, place, column) for place, column in places)
        return next((value for value in found if value is not None), None)

    if len(places) > 1:
        return composed if field in _COMPOSED else first
    ((place, column),) = places
    return lambda cells: single(cells, place, column)


def _sum(day: Read, time_of_day: Read) -> Read:
    """Both together; None if one of them is missing."""

    def read(cells: Sequence[Any]) -> Any:
        parts = [day(cells), time_of_day(cells)]
        return None if None in parts else sum(parts)

    return read


def follow(value: Any, path: Sequence[str]) -> Any:
    """The value at the end of a path of names; None where there is none."""
    for i, name in enumerate(path):
        if isinstance(value, list):
            return [follow(one, path[i:]) for one in value]
        value = value.get(name) if isinstance(value, dict) else None
    return value
