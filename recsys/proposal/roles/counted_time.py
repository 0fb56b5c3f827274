"""Times that only the user can place: numbers that count from a moment, and days without a year."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.clock_columns import clock_format, month_days
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.time_columns import TimeReading, counted_reading, time_reading
from recsys.proposal.columns.vocabulary import says, tokens
from recsys.proposal.roles.roles import Said
from streaming.ingest.mapping.event_time import Unit, epoch_millis

_UNITS: Final[dict[str, Unit]] = {
    "day": "d", "days": "d", "hour": "h", "hours": "h", "minute": "min", "minutes": "min", "second": "s",
    "seconds": "s", "sec": "s", "ms": "ms", "millis": "ms",
}  # fmt: skip
_DAYS_OF_MONTHS: Final = "%m%d"
_CLEAR: Final = 1.5


def counted(columns: Sequence[Column]) -> Column | None:
    """The column whose name says most clearly that it has times, of those whose numbers may count from a moment."""
    able = [one for one in columns if says("time", one.name) >= _CLEAR and one.type in ("integer", "number")
            and len(one.distinct) > 1 and min(one.numbers) >= 0]  # fmt: skip
    able = [one for one in able if clock_format(one) is None and time_reading(one.values) is None]
    return max(able, key=lambda one: (says("time", one.name), _unit(one) is not None), default=None)


def counted_time(columns: Sequence[Column], said: Said, path: Path) -> tuple[Column, TimeReading] | None:
    """The column that counts from the origin that the user says, and how. Raises InvalidValueError if the unit is not
    clear."""
    column = counted(columns)
    if column is None or not said.origin:
        return None
    pattern = said.time_format or (_DAYS_OF_MONTHS if _months(column) and not said.time_unit else "")
    unit = said.time_unit or _unit(column)
    if unit is None and not pattern:
        raise InvalidValueError(f"{path}: say with --time-unit what {_numbers(column)} count, such as s for seconds")
    reading = counted_reading(column.values, unit or "ms", pattern, epoch_millis(datetime.fromisoformat(said.origin)))
    return None if reading is None else (column, reading)


def unplaced(columns: Sequence[Column]) -> str:
    """What only the user knows of such a column, in words; empty if there is none."""
    column = counted(columns)
    if column is None:
        clocks = [one for one in columns if clock_format(one) is not None]
        told = "has times of day, and no column has the days: name it with --time COLUMN"
        return f"{clocks[0].name!r} {told}" if clocks else ""
    if _months(column):
        such = f"{column.name!r} has months and days without a year, such as {column.texts[0]!r}"
        return f"{such}: say from when on with --origin, such as --origin 2024-01-01"
    unit = _unit(column)
    told = "" if unit else " --time-unit s (if it is seconds)"
    what = {"d": "days", "h": "hours"}.get(unit or "", "time")
    return (
        f"{_numbers(column)} count {what} from a moment that only you know: say when it is, such as with --origin "
        f"2024-01-01{told}"
    )


def _numbers(column: Column) -> str:
    return f"the numbers in {column.name!r} ({min(column.numbers):g} to {max(column.numbers):g})"


def _unit(column: Column) -> Unit | None:
    return next((_UNITS[word] for word in tokens(column.name) if word in _UNITS), None)


def _months(column: Column) -> bool:
    """Whether all values are months with days, and not numbers of days."""
    return _unit(column) is None and month_days(column)
