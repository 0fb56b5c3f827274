"""Times of day in a column of their own, beside a column of days."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Final

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.formatted_time import only_digits, parsed, without_fraction

_CLOCK: Final = re.compile(
    r"\s*(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d{1,9})?))?)?\s*(?P<half>[ap]\.?m\.?)?\s*",
    re.IGNORECASE | re.ASCII,
)
_HOUR: Final = 3_600_000
DAY: Final = 24 * _HOUR


def check_time_of_day_format(pattern: str) -> None:
    """Raises InvalidValueError for a `time_of_day_format` that cannot be read back, or has no hours."""
    try:
        hour = parsed(time(13, 5, 7).strftime(pattern), pattern).hour
    except (ValueError, re.error) as error:
        told = f"time_of_day_format: {pattern!r} is not a format of a time of day: {error}"
        raise InvalidValueError(told) from None
    if hour != 13:
        raise InvalidValueError(f"time_of_day_format: {pattern!r} does not say which hour of the day it is")


def time_of_day_reader(pattern: str = "") -> Callable[[Any], int]:
    """A function from a cell to milliseconds since midnight; text is read by `pattern` if given.

    Without a pattern text is as `13:45`, `13:45:07.5` or `1:45 pm`, and a number counts hours. It raises
    InvalidValueError for any other value, with a message to follow the value.
    """

    digits = only_digits(pattern)

    def read(value: Any) -> int:
        value = without_fraction(value) if digits else value
        try:
            found = _millis(value, pattern)
        except (ValueError, TypeError, ArithmeticError):
            found = -1
        if not 0 <= found < DAY:
            wanted = f'as time_of_day_format = "{pattern}"' if pattern else "a time of day, such as 13:45"
            raise InvalidValueError(f"is not {wanted}")
        return found

    return read


def _millis(value: Any, pattern: str) -> int:
    if isinstance(value, bytes):
        value = value.decode()
    if pattern and isinstance(value, str | int) and not isinstance(value, bool):
        value = parsed(str(value), pattern)
    if isinstance(value, time | datetime):
        return (value.hour * 60 + value.minute) * 60_000 + value.second * 1000 + value.microsecond // 1000
    if isinstance(value, str):
        return _of_clock(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError("no time of day")
    return int(value * _HOUR)


def _of_clock(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if found is None:
        return int(float(text) * _HOUR)
    hour, minute, second = int(found["hour"]), int(found["minute"] or 0), (found["second"] or "0").replace(",", ".")
    if half := found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of half a day")
        hour = hour % 12 + 12 * (half[0] in "pP")
    if minute > 59 or float(second) >= 60:
        raise ValueError("no minute or second")
    return hour * _HOUR + minute * 60_000 + int(Decimal(second) * 1000)
