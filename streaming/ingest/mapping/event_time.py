"""Times of tables and foreign JSON as milliseconds since the epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final, Literal

from recsys.errors import InvalidValueError

Unit = Literal["ms", "s", "us", "ns", "iso"]
_UNITS: Final[dict[Unit, str]] = {
    "ms": "a number of milliseconds",
    "s": "a number of seconds",
    "us": "a number of microseconds",
    "ns": "a number of nanoseconds",
    "iso": "ISO 8601",
}
PLAUSIBLE: Final = 631_152_000_000
"""The beginning of 1990, ms since the epoch: an older time is hardly one of a log."""
IN_MS: Final[dict[Unit, tuple[int, int]]] = {"ms": (1, 1), "s": (1000, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
"""Factor and divisor to milliseconds."""
_DIGITS: Final = 20
"""Smaller numbers are read without further checks."""
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def check_format(pattern: str) -> None:
    """Raises InvalidValueError for a `time_format` that cannot be read back without a loss."""
    if "%Z" in pattern:
        raise InvalidValueError("time_format: %Z knows this machine's zones only; write the zone itself, or use %z")
    try:
        datetime.strptime(datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC).strftime(pattern), pattern)
    except (ValueError, re.error) as error:
        raise InvalidValueError(f"time_format: {pattern!r} is not a format of a time: {error}") from None


def millis_reader(unit: Unit, pattern: str = "") -> Callable[[Any], int]:
    """A function from a value to milliseconds, with a time without a zone in UTC; text is read by `pattern` if given.

    It raises InvalidValueError for any other value, with a message to follow the value.
    """
    in_unit = f'{_UNITS[unit]} (time_unit = "{unit}")'

    times, parts = IN_MS.get(unit, (1, 1))
    whole = parts == 1 and unit != "iso" and not pattern

    def read(value: Any) -> int:
        if whole and type(value) is str and value.isdecimal() and len(value) < _DIGITS:
            return int(value) * times
        try:
            return _millis(value, unit, pattern)
        except (ValueError, ArithmeticError, TypeError):
            by_format = bool(pattern) and isinstance(value, str)
            raise InvalidValueError(
                f'is not as time_format = "{pattern}"' if by_format else f"is not {in_unit}"
            ) from None

    return read


def _millis(value: Any, unit: Unit, pattern: str) -> int:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        if pattern:
            value = datetime.strptime(value, pattern)
        elif unit == "iso":
            value = datetime.fromisoformat(value)
        else:
            value = _number(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return epoch_millis(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or unit == "iso":
        raise TypeError("not a number of the unit")
    times, parts = IN_MS[unit]
    return math.floor(value * times / parts) if isinstance(value, float) else int(value * times // parts)


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
