"""How rows of a table (delimited text, Parquet, foreign JSON) become events of one kind."""

from __future__ import annotations

import re
from collections.abc import Mapping as Names
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Final, Literal

from xxhash import xxh3_128_hexdigest

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Kind
from streaming.events.schema import Impression, Interaction, ItemUpdate, UserUpdate
from streaming.ingest.mapping.event_time import Unit
from streaming.ingest.mapping.formatted_time import check_format
from streaming.ingest.mapping.time_of_day import check_time_of_day_format

Shape = Literal["impression", "interaction", "user", "item", "shown", "feedback"]
"""What a row is: an event of a kind, one item of a list that was shown, or what a user did without a list."""
Repeated = Literal["refuse", "first", "last"]
_SHOWN: Final = ("item", "value", "actions")
_FIELDS: Final[dict[Shape, tuple[str, ...]]] = {
    "impression": (*Impression.__struct_fields__, "actions"),
    "interaction": (*Interaction.__struct_fields__, "actions"),
    "user": UserUpdate.__struct_fields__,
    "item": ItemUpdate.__struct_fields__,
    "shown": (*(name for name in Impression.__struct_fields__ if name != "items"), *_SHOWN),
    "feedback": ("id", "time", "user", "item", "action", "value", "features", "item_features", "actions"),
}
TIME_OF_DAY: Final = "time_of_day"
"""The field of a column that is a part of the time: `time` is then the day."""
_NEEDED: Final[dict[Shape, tuple[str, ...]]] = {
    "impression": ("id", "time", "user", "items"),
    "interaction": ("time", "impression", "item"),
    "user": ("time", "user"),
    "item": ("time", "item"),
    "shown": ("time", "user", "item", "actions"),
    "feedback": ("time", "user", "item"),
}
_DONE: Final = ("interaction", "feedback")
_NESTED: Final = ("features", "item_features", "actions")
_OPTION_OF: Final[dict[str, tuple[Shape, ...]]] = {
    "separator": ("impression", "user", "item", "shown", "feedback"),
    "label_separator": ("impression",),
    "anonymous": ("impression", "shown"),
    "repeated_items": ("impression", "shown"),
    "negatives_within": ("feedback",),
    "seed": ("feedback",),
}
"""The kinds of rows that an option says something of."""
_WITHOUT_LISTS: Final = "; kind = 'feedback' is for what users did where nobody knows the list (docs/events.md)"
NULLS: Final = ("", "null", "NULL", "nan", "NaN", "None", r"\N")
"""Default words for a missing value."""


@dataclass(frozen=True)
class Mapping:
    """From the event's field (`time`, `user`, `items`, `features.NAME`, ...) to the table's column.

    Several columns make an `id` or `impression` together, joined with ":"; for any other field the first that has a
    value counts. Text in `null_values` and a number that is not finite are missing values. Lists in one cell are cut
    at `separator`, and a feature that is text becomes a number or a set when `kinds` says so. `time_format` is for
    text, as in Python's `strptime`. Raises InvalidValueError for a field that the kind does not have, and when a
    required one is missing.

    `actions.NAME` is the column that says whether an action happened: by `positive_values`, or else by a number above
    0 or true. Of an impression it holds the items with which it happened; with `label_separator` each item of a list
    has its label behind it.
    """

    kind: Shape
    columns: Names[str, str | Sequence[str]]
    time_unit: Unit = "ms"
    separator: str = "|"
    kinds: Names[str, Kind | None] = field(default_factory=dict)
    """Of features, by name; see `Rules`."""
    null_values: Sequence[str] = NULLS
    time_format: str = ""
    positive_values: Sequence[str] = ()
    label_separator: str = ""
    anonymous: Literal["refuse", "request"] = "refuse"
    """Whether a list without a user is refused, or gets a user of its own."""
    repeated_items: Repeated = "refuse"
    """Which place counts for an item that is in a list more than once."""
    start: int | None = None
    """Time (ms since the epoch) of the first row of a file without times, and between two rows:"""
    interval: int = 1000
    negatives_within: int = 3_600_000
    """Longest time (ms) between two rows of feedback that are shown together."""
    seed: int = 0
    apart: bool = False
    """Whether rows of one list are scattered over the file."""
    where: Names[str, Sequence[str]] = field(default_factory=dict)
    """In files with rows of several kinds: values by column; a row of this kind has one of them in each."""
    decimal: Literal[".", ","] = field(default=".", repr=False)
    """What stands before the fraction of a number in text; with a comma, points and spaces group the digits."""
    origin: int | None = field(default=None, repr=False)
    """Time (ms since the epoch) from which numbers of `time_unit` count, and times without a year follow."""
    time_of_day_format: str = field(default="", repr=False)
    """Of the column of `time_of_day`, see `time_of_day_reader`."""
    action: str = field(default="", repr=False)
    """What was done in every row of a file without a column that says it; empty for `click`."""

    def __post_init__(self) -> None:
        allowed = fields_of(self.kind)
        for name in self.columns:
            parent, dot, child = name.partition(".")
            if parent in allowed and (parent in _NESTED) == bool(dot and child):
                continue
            names = [f"{one}.NAME" if one in _NESTED else one for one in allowed]
            close = get_close_matches(name, names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            hint = _WITHOUT_LISTS + "." if (self.kind, name) == ("interaction", "user") else hint
            raise InvalidValueError(f"{self._what} has no field {name!r}{hint or '.'} It has {', '.join(names)}")
        if missing := [name for name in self._needed if name not in {one.partition(".")[0] for one in self.columns}]:
            first = '"actions.click"' if missing[0] == "actions" else missing[0]
            raise InvalidValueError(
                f"{self._what} needs {', '.join(self._needed)}: say in `columns` which columns "
                f'are its {" and ".join(missing)}, such as `{first} = "NAME OF THE COLUMN"`'
                f"{_WITHOUT_LISTS if self.kind == 'interaction' and 'impression' in missing else ''}"
            )
        if self.apart and (self.kind != "shown" or "id" not in self.columns):
            raise InvalidValueError("apart: this is for rows of kind 'shown' with a column for `id`")
        if "time" in self.columns and self.start is not None:
            raise InvalidValueError("start: a column has the times already; remove one of the two")
        self._check_effects()
        if not self.separator:
            raise InvalidValueError("separator: the values of a list need something between them")
        if self.action and self.kind not in _DONE:
            raise InvalidValueError(f"action: this is for rows of kind {' or '.join(map(repr, _DONE))}")
        if self.action and "action" in {name.partition(".")[0].removesuffix("s") for name in self.columns}:
            raise InvalidValueError("action: a column says what was done already; remove one of the two")
        self._check_times()

    def _check_times(self) -> None:
        """Raises InvalidValueError for settings of times that mean nothing together."""
        if self.time_format:
            check_format(self.time_format, origin=self.origin is not None)
        if self.time_of_day_format:
            check_time_of_day_format(self.time_of_day_format)
        if self.start is not None and self.origin is not None:
            raise InvalidValueError("origin: this is what times count from, and `start` is for files without times")
        if TIME_OF_DAY in self.columns and self.start is not None:
            raise InvalidValueError("time_of_day: say which column has the day with `time`, in place of `start`")
        if self.time_of_day_format and TIME_OF_DAY not in self.columns:
            raise InvalidValueError("time_of_day_format: no column is mapped to `time_of_day`")

    def _check_effects(self) -> None:
        """Raises InvalidValueError for an option that does nothing with rows of this kind."""
        for name, kinds in _OPTION_OF.items():
            if self.kind not in kinds and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise InvalidValueError(
                    f"{name}: has no effect on {self._what}, it is for {' and '.join(kinds)}; delete it"
                )
        if self.positive_values and not {"actions", "available"} & {name.partition(".")[0] for name in self.columns}:
            raise InvalidValueError("positive_values: has no effect without a column for actions.NAME or available")
        if self.start is None and self.interval != type(self).interval:
            raise InvalidValueError("interval: has no effect without start; set start, or delete it")
        if empty := [column for column, values in self.where.items() if not values]:
            raise InvalidValueError(f"where: no row has one of no values in {empty[0]!r}; name some, or delete it")

    @property
    def _what(self) -> str:
        return f"{'a row' if self.kind in ('shown', 'feedback') else 'an event'} of kind {self.kind!r}"

    @property
    def _needed(self) -> list[str]:
        given = {"time"} if self.start is not None else set()
        if self.anonymous == "request" and self.kind in ("impression", "shown"):
            given.add("user")
        return [name for name in _NEEDED[self.kind] if name not in given]

    @property
    def row_per_item(self) -> bool:
        """Whether a row has one item, so that no cell is a list with a value per item."""
        return self.kind in ("shown", "feedback")

    @cached_property
    def names(self) -> list[str]:
        """The columns that are read, each once."""
        mapped = (name for columns in self.columns.values() for name in columns_of(columns))
        return list(dict.fromkeys((*mapped, *self.where)))

    def fingerprint(self, content: str, more: object = "") -> str:
        """Identity of a source with this `content` (its hash) and mapping; empty if the content has none.

        Another mapping makes other events of the same file, which is then read again.
        """
        return content and xxh3_128_hexdigest(f"{content} {self._text} {more!r}".encode())

    @cached_property
    def _text(self) -> str:
        """What tells this mapping from others; what has come later counts where it is set: read files stay known."""
        later = {"decimal": ".", "origin": None, "time_of_day_format": "", "action": ""}
        values = ((getattr(self, name), default) for name, default in later.items())
        return repr(self) + "".join(f" {value}" for value, default in values if value != default)

    def check(self, available: Sequence[str], source: str) -> None:
        """Raises InvalidValueError when a column is not among `available`, or appears twice."""
        for name, columns in (*self.columns.items(), ("where", tuple(self.where))):
            for column in columns_of(columns):
                if column not in available:
                    raise InvalidValueError(
                        f"{source} has no column {column!r} (mapped to {name!r}); it has {', '.join(available)}"
                        f"{_meant(column, available)}"
                    )
                if available.count(column) > 1:
                    raise InvalidValueError(
                        f"{source} has {available.count(column)} columns {column!r} (mapped to {name!r}); give them "
                        f"different names, such as with `header` in the mapping"
                    )


def fields_of(kind: Shape) -> Sequence[str]:
    """What a row of this kind may have."""
    return (*_FIELDS[kind], TIME_OF_DAY)


def _meant(column: str, available: Sequence[str]) -> str:
    """A question for the name that is nearly that of the column, whatever its case, spaces and signs.

    >>> _meant("userid", ["at", " User_ID"]), _meant("price", ["at"])
    ("; did you mean ' User_ID'?", '')
    """
    plain = {re.sub(r"[\W_]+", "", name).lower(): name for name in reversed(available)}
    found = get_close_matches(re.sub(r"[\W_]+", "", column).lower(), plain, 1, 0.8)
    return f"; did you mean {plain[found[0]]!r}?" if found else ""


def columns_of(columns: str | Sequence[str]) -> Sequence[str]:
    """The columns of one field."""
    return (columns,) if isinstance(columns, str) else columns
