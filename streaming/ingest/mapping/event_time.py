"""Times of tables and foreign JSON as milliseconds since the epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final, Literal

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.formatted_time import (
    from_origin,
    has_clock,
    has_year,
    only_digits,
    parsed,
    without_fraction,
)

Unit = Literal["ms", "s", "us", "ns", "min", "h", "d", "iso"]
_UNITS: Final[dict[Unit, str]] = {
    "ms": "a number of milliseconds",
    "s": "a number of seconds",
    "us": "a number of microseconds",
    "ns": "a number of nanoseconds",
    "min": "a number of minutes",
    "h": "a number of hours",
    "d": "a number of days",
    "iso": "ISO 8601",
}
PLAUSIBLE: Final = 631_152_000_000
"""The beginning of 1990, ms since the epoch: an older time is hardly one of a log."""
IN_MS: Final[dict[Unit, tuple[int, int]]] = {
    "ms": (1, 1), "s": (1000, 1), "us": (1, 1000), "ns": (1, 1_000_000),
    "min": (60_000, 1), "h": (3_600_000, 1), "d": (86_400_000, 1),
}  # fmt: skip
"""Factor and divisor to milliseconds."""
_DIGITS: Final = 20
"""Smaller numbers are read without further checks."""
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def millis_reader(unit: Unit, pattern: str = "", origin: int = 0) -> Callable[[Any], int]:
    """A function from a value to milliseconds, with a time without a zone in UTC.

    Text is read by `pattern` if given, and so are whole numbers by one of digits alone; other numbers count from
    `origin` (ms), and a pattern without a year means the first such time at or after it. It raises InvalidValueError
    for any other value, with a message to follow the value.
    """
    in_unit = f'{_UNITS[unit]} (time_unit = "{unit}")'

    times, parts = IN_MS.get(unit, (1, 1))
    whole = parts == 1 and unit != "iso" and not pattern
    by_pattern = _pattern_reader(pattern, origin) if pattern else None
    digits = only_digits(pattern)

    def read(value: Any) -> int:
        value = without_fraction(value) if digits or unit == "iso" else value
        if whole and type(value) is str and value.isdecimal() and len(value) < _DIGITS:
            return int(value) * times + origin
        formatted = by_pattern is not None and (isinstance(value, str | bytes) or (digits and type(value) is int))
        try:
            if by_pattern is not None and formatted:
                return by_pattern(value.decode() if isinstance(value, bytes) else str(value))
            return _millis(value, unit, origin)
        except (ValueError, ArithmeticError, TypeError):
            raise InvalidValueError(
                f'is not as time_format = "{pattern}"' if formatted else f"is not {in_unit}"
            ) from None

    return read


def _pattern_reader(pattern: str, origin: int) -> Callable[[str], int]:
    if has_year(pattern):
        return lambda text: epoch_millis(parsed(text, pattern))
    first = datetime.fromtimestamp(origin / 1000, UTC)
    if not has_clock(pattern):  # the day of the origin is one of those from it on
        first = first.replace(hour=0, minute=0, second=0, microsecond=0)
    return lambda text: epoch_millis(from_origin(text, pattern, first))


def _millis(value: Any, unit: Unit, origin: int) -> int:
    if isinstance(value, bytes):
        value = value.decode()
    if unit == "iso" and type(value) is int:
        value = str(value)  # such as 20240301, of which pandas makes a number
    if isinstance(value, str):
        value = datetime.fromisoformat(value) if unit == "iso" else _number(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return epoch_millis(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or unit == "iso":
        raise TypeError("not a number of the unit")
    times, parts = IN_MS[unit]
    return origin + (math.floor(value * times / parts) if isinstance(value, float) else int(value * times // parts))


def epoch_millis(value: datetime) -> int:
    """Milliseconds since the epoch; a time without a zone is in UTC."""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _number(text: str) -> int | float:
    if text.isdecimal():
        return int(text)
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("not a number")
    return float(text)
