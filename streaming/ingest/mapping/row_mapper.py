"""Rows of a table as lines of JSON, one event each."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from recsys.errors import InvalidValueError
from streaming.events.schema import EVENT_SCHEMA
from streaming.ingest.mapping import values
from streaming.ingest.mapping.column_mapping import Mapping, columns_of
from streaming.ingest.mapping.event_time import millis_reader

_COMPOSED: Final = ("id", "impression")
Convert = Callable[[Any], Any]
Read = Callable[[Sequence[Any]], Any]


class RowMapper:
    """Makes lines of rows, which are cells in the order of `mapping.names`."""

    def __init__(self, mapping: Mapping) -> None:
        self._kind = mapping.kind
        self._plain: dict[str, Read] = {}
        self._nested: dict[str, dict[str, Read]] = {"features": {}} if mapping.kind in ("user", "item") else {}
        for field, columns in mapping.columns.items():
            parent, dot, child = field.partition(".")
            places = [(mapping.names.index(column), column) for column in columns_of(columns)]
            read = _reader(field, places, _converter(mapping, field))
            if dot:
                self._nested.setdefault(parent, {})[child] = read
            else:
                self._plain[field] = read

    def line(self, cells: Sequence[Any]) -> bytes:
        """The row as a line of JSON. Raises InvalidValueError for a value that has no place in an event; everything
        else is checked when the line is decoded.
        """
        event: dict[str, Any] = {"type": self._kind}
        for field, read in self._plain.items():
            if (value := read(cells)) is not None:
                event[field] = value
        for parent, children in self._nested.items():
            event[parent] = {child: read(cells) for child, read in children.items()}
        return msgspec.json.encode(event)

    def has_time(self, cells: Sequence[Any]) -> bool:
        """Whether the cells have a time that can be read."""
        try:
            return self._plain["time"](cells) is not None
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


def _converter(mapping: Mapping, field: str) -> Convert:
    """From a cell to the field's value; None when it is missing."""
    nulls, separator = frozenset(mapping.null_values), mapping.separator
    parent, dot, child = field.partition(".")
    if field == "time":
        return _unless_null(millis_reader(mapping.time_unit, mapping.time_format), nulls)
    if dot:
        kind = mapping.kinds.get(child)
        if parent == "item_features":
            return lambda cell: [
                values.feature(one, kind, separator, nulls) for one in values.elements(cell, separator)
            ]
        return lambda cell: values.feature(cell, kind, separator, nulls)
    type_ = EVENT_SCHEMA.field(field).type
    listed = pa.types.is_list(type_)
    convert = values.identifier if pa.types.is_string(type_.value_type if listed else type_) else values.number
    if not listed:
        return lambda cell: convert(cell, nulls)
    return _unless_null(lambda cell: [_present(convert(one, nulls)) for one in values.elements(cell, separator)], nulls)


def _unless_null(convert: Convert, nulls: Collection[str]) -> Convert:
    return lambda cell: None if cell is None or (isinstance(cell, str) and cell in nulls) else convert(cell)


def _present(value: Any) -> Any:
    if value is None:
        raise InvalidValueError("lacks a value in the list")
    return value


def follow(value: Any, path: Sequence[str]) -> Any:
    """The value at the end of a path of names; None where there is none."""
    for i, name in enumerate(path):
        if isinstance(value, list):
            return [follow(one, path[i:]) for one in value]
        value = value.get(name) if isinstance(value, dict) else None
    return value
