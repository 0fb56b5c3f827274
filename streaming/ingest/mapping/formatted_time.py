"""Times that are written by a format of `strptime`, also by one without separators or without a year."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from recsys.errors import InvalidValueError

_WIDTHS: Final = {"Y": 4, "j": 3, "y": 2, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}
_DIGITS: Final = re.compile(rf"(?:%[{''.join(_WIDTHS)}])+")
_LEAP: Final = 4


def check_format(pattern: str, *, origin: bool = False) -> None:
    """Raises InvalidValueError for a `time_format` that cannot be read back without a loss.

    One without a year needs an `origin`, which says from when on.
    """
    if "%Z" in pattern:
        raise InvalidValueError("time_format: %Z knows this machine's zones only; write the zone itself, or use %z")
    try:
        read = _read_back(pattern)
    except (ValueError, re.error) as error:
        raise InvalidValueError(f"time_format: {pattern!r} is not a format of a time: {error}") from None
    if not has_year(pattern) and (read.month, read.day) != (2, 3):
        raise InvalidValueError(f"time_format: {pattern!r} has no day, so that nobody knows when an event happened")
    if not has_year(pattern) and not origin:
        raise InvalidValueError(
            f"time_format: {pattern!r} has no year: say from when on with `origin`, such as origin = 2024-01-01"
        )


def has_year(pattern: str) -> bool:
    """Whether times in this format have a year.

    >>> has_year("%d.%m.%y"), has_year("%m%d")
    (True, False)
    """
    return _read_back(pattern).year == 2001


def has_clock(pattern: str) -> bool:
    """Whether times in this format have an hour.

    >>> has_clock("%m%d%H"), has_clock("%m%d")
    (True, False)
    """
    return _read_back(pattern).hour == 4


def _read_back(pattern: str) -> datetime:
    return parsed(datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC).strftime(pattern), pattern)


def only_digits(pattern: str) -> bool:
    """Whether a time in this format is a number.

    >>> only_digits("%Y%m%d"), only_digits("%H:%M")
    (True, False)
    """
    return _DIGITS.fullmatch(pattern) is not None


def parsed(text: str, pattern: str) -> datetime:
    """The time; in formats of digits alone zeros in front may be missing. Raises ValueError for any other text."""
    return datetime.strptime(_filled(text, pattern), pattern)


def from_origin(text: str, pattern: str, origin: datetime) -> datetime:
    """The first such time at or after `origin`, which is in UTC, of a format without a year.

    >>> from_origin("0105", "%m%d", datetime(2015, 5, 1, tzinfo=UTC)).isoformat()
    '2016-01-05T00:00:00+00:00'
    """
    text = _filled(text, pattern)
    for year in range(origin.year, origin.year + 2 * _LEAP + 1):
        try:
            found = datetime.strptime(f"{year} {text}", f"%Y {pattern}")
        except ValueError:
            continue  # 29 February, in another year
        if found.year != year:
            continue  # day 366, which strptime takes for the first one of the next year
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if found >= origin:
            return found
    raise ValueError("no such day")


def without_fraction(value: Any) -> Any:
    """As in the file: pandas makes 20240301.0 of 20240301 where other rows of the column have no value.

    >>> without_fraction(20240301.0), without_fraction("20240301.0"), without_fraction(0.5)
    (20240301, '20240301', 0.5)
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.removesuffix(".0") if isinstance(value, str) and value[:-2].isdecimal() else value


def _filled(text: str, pattern: str) -> str:
    """With zeros in front, if the format has digits alone."""
    if only_digits(pattern) and text.isdecimal():
        return text.zfill(sum(_WIDTHS[letter] for letter in pattern[1::2]))
    return text
