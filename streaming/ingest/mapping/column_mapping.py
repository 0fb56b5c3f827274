"""How rows of a table (delimited text, Parquet, foreign JSON) become events of one kind."""

from __future__ import annotations

from collections.abc import Mapping as Names
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, Literal

import msgspec
from msgspec.structs import fields
from xxhash import xxh3_128_hexdigest

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Kind
from streaming.events.columns import EVENT_TYPES, KINDS
from streaming.ingest.mapping.event_time import Unit, check_format

_STRUCTS: Final[dict[str, type[msgspec.Struct]]] = dict(zip(KINDS, EVENT_TYPES, strict=True))
_NESTED: Final = ("features", "item_features")
_NEEDED: Final = {
    kind: [field.name for field in fields(struct) if field.required and field.name not in _NESTED]
    for kind, struct in _STRUCTS.items()
}
NULLS: Final = ("", "null", "NULL", "nan", "NaN", "None", r"\N")
"""Words that stand for a missing value where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """From the event's field (`time`, `user`, `items`, `features.NAME`, ...) to the table's column.

    Several columns make an `id` or `impression` together, joined with ":"; for any other field the first that has a
    value counts. Text in `null_values` and a number that is not finite are missing values. Lists in one cell are cut
    at `separator`, and a feature that is text becomes a number or a set when `kinds` says so. `time_format` is for
    text, as in Python's `strptime`. Raises InvalidValueError for a field that the kind does not have, and when a
    required one is missing.
    """

    kind: Literal["impression", "interaction", "user", "item"]
    columns: Names[str, str | Sequence[str]]
    time_unit: Unit = "ms"
    separator: str = "|"
    kinds: Names[str, Kind | None] = field(default_factory=dict)
    """Of features, by name; see `Rules`."""
    null_values: Sequence[str] = NULLS
    time_format: str = ""

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
        if not self.separator:
            raise InvalidValueError("separator: the values of a list need something between them")
        if self.time_format:
            check_format(self.time_format)

    @property
    def names(self) -> list[str]:
        """The columns that are read, each once."""
        return list(dict.fromkeys(name for columns in self.columns.values() for name in columns_of(columns)))

    def fingerprint(self, content: str, more: object = "") -> str:
        """Identity of a source with this `content` (its hash) and mapping; empty if the content has none.

        Another mapping makes other events of the same file, which is then read anew.
        """
        return content and xxh3_128_hexdigest(f"{content} {self!r} {more!r}".encode())

    def check(self, available: Sequence[str], source: str) -> None:
        """Raises InvalidValueError when a column is not among `available`, or there twice."""
        for name, columns in self.columns.items():
            for column in columns_of(columns):
                if column not in available:
                    raise InvalidValueError(
                        f"{source} has no column {column!r} (mapped to {name!r}); it has {', '.join(available)}"
                    )
                if available.count(column) > 1:
                    raise InvalidValueError(
                        f"{source} has {available.count(column)} columns {column!r} (mapped to {name!r}); give them "
                        f"different names, such as with `header` in the mapping"
                    )


def columns_of(columns: str | Sequence[str]) -> Sequence[str]:
    """The columns of one field."""
    return (columns,) if isinstance(columns, str) else columns
