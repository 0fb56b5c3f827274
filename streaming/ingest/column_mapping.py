"""How rows of a table (CSV, Parquet) become events of one kind."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping as Names
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa
from msgspec.structs import fields

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Kind
from streaming.events.columns import EVENT_TYPES, KINDS
from streaming.events.schema import EVENT_SCHEMA

_STRUCTS: Final[dict[str, type[msgspec.Struct]]] = dict(zip(KINDS, EVENT_TYPES, strict=True))
_UNITS: Final = {"ms": "a number of milliseconds", "s": "a number of seconds", "iso": "ISO 8601"}
_NESTED: Final = ("features", "item_features")
_NEEDED: Final = {
    kind: [field.name for field in fields(struct) if field.required and field.name not in _NESTED]
    for kind, struct in _STRUCTS.items()
}


@dataclass(frozen=True, slots=True)
class Mapping:
    """From the event's field (`time`, `user`, `items`, `features.NAME`, ...) to the table's column.

    In CSV, where all is text, lists are cut at `separator`, and a feature is a number when `kinds` says numeric.
    An empty cell and a number that is not finite are missing values. Raises InvalidValueError for a field that the
    kind does not have, and when a required one is missing.
    """

    kind: Literal["impression", "interaction", "user", "item"]
    columns: Names[str, str]
    time_unit: Literal["ms", "s", "iso"] = "ms"
    separator: str = "|"
    kinds: Names[str, Kind | None] = field(default_factory=dict)
    """Of features, by name; see `Rules`."""

    def __post_init__(self) -> None:
        allowed = _STRUCTS[self.kind].__struct_fields__
        for name in self.columns:
            parent, dot, child = name.partition(".")
            if parent in allowed and (parent in _NESTED) == bool(dot and child):
                continue
            names = [f"{one}.NAME" if one in _NESTED else one for one in allowed]
            close = get_close_matches(name, names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InvalidValueError(
                f"an event of kind {self.kind!r} has no field {name!r}{hint} It has {', '.join(names)}"
            )
        if missing := [name for name in _NEEDED[self.kind] if name not in self.columns]:
            raise InvalidValueError(
                f"an event of kind {self.kind!r} needs {', '.join(_NEEDED[self.kind])}: say in `columns` which columns "
                f'are its {" and ".join(missing)}, such as `{missing[0]} = "NAME OF THE COLUMN"`'
            )

    def check(self, available: list[str], source: str) -> None:
        """Raises InvalidValueError when a column is not among `available`."""
        for name, column in self.columns.items():
            if column not in available:
                raise InvalidValueError(
                    f"{source} has no column {column!r} (mapped to {name!r}); it has {', '.join(available)}"
                )

    def line(self, row: Names[str, Any]) -> bytes:
        """The row as a line of JSON. Raises InvalidValueError for an unreadable time; everything else is checked when
        the line is decoded.
        """
        event: dict[str, Any] = {"type": self.kind}
        for name, column in self.columns.items():
            value = row[column]
            parent, dot, child = name.partition(".")
            if dot:
                event.setdefault(parent, {})[child] = self._feature(parent, child, value)
            elif value is not None and value != "":
                event[name] = self._time(column, value) if name == "time" else self._value(name, value)
        if self.kind in ("user", "item"):
            event.setdefault("features", {})
        return msgspec.json.encode(event, enc_hook=str)

    def _time(self, column: str, value: Any) -> int:
        try:
            return _millis(value, self.time_unit)
        except (ValueError, OverflowError, TypeError):
            unit, found = self.time_unit, reprlib.repr(value)
            raise InvalidValueError(
                f'time: {found} in column {column!r} is not {_UNITS[unit]} (time_unit = "{unit}")'
            ) from None

    def _value(self, name: str, value: Any) -> Any:
        type_ = EVENT_SCHEMA.field(name).type
        if pa.types.is_list(type_):
            return [_as(type_.value_type, one) for one in self._list(value)]
        return _as(type_, value)

    def _feature(self, parent: str, name: str, value: Any) -> Any:
        if parent == "item_features":
            return [self._cell(name, one) for one in self._list(value)]
        return self._cell(name, value)

    def _cell(self, name: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        kind = self.kinds.get(name)
        if kind == "multi":
            return [part for part in value.split(self.separator) if part]
        return _number(value) if kind == "numeric" else value or None

    def _list(self, value: Any) -> list[Any]:
        if isinstance(value, str):
            return value.split(self.separator)
        return list(value) if isinstance(value, list | tuple) else [value]


def _as(type_: pa.DataType, value: Any) -> Any:
    if pa.types.is_string(type_):
        return value if isinstance(value, str) else str(value)
    return _number(value) if isinstance(value, str) else value


def _number(text: str) -> Any:
    """The number; if it is none, the text itself, which is refused with its name when the line is decoded."""
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return text or None


def _millis(value: Any, unit: str) -> int:
    """Milliseconds since the epoch; a date without a zone is UTC. Other values raise one of several errors."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value) if unit == "iso" else _number(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    if not isinstance(value, int | float | Decimal):
        raise TypeError("no number")  # text times 1000 would be a long text
    return math.floor(value * (1000 if unit == "s" else 1))
