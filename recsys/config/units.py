"""Durations and sizes as written in the configuration: `250ms`, `30m`, `7d`, `64KiB`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import BeforeValidator

from recsys.errors import InvalidValueError

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _parse(value: object, units: dict[str, int], what: str) -> int:
    names = "|".join(sorted(units, key=len, reverse=True))
    match = re.fullmatch(rf"\s*(-?\d+(?:\.\d+)?)\s*({names})\s*", value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValueError(
            f"write a {what} as a number and one of {', '.join(units)}, such as {_example(units)!r}"
        )
    if match[1].startswith("-"):
        raise InvalidValueError(f"a {what} must not be negative: write one such as {_example(units)!r}")
    return round(float(match[1]) * units[match[2]])


def _example(units: dict[str, int]) -> str:
    return f"10{list(units)[1]}"


def milliseconds(value: object) -> int:
    """Milliseconds in a duration such as `30m`. Raises InvalidValueError for anything else.

    >>> milliseconds("1.5h")
    5400000
    """
    return _parse(value, _UNITS, "duration")


def written(duration: int) -> str:
    """The duration in the largest unit that leaves no fraction.

    >>> written(31 * 60_000)
    '31m'
    """
    unit = max((name for name in _UNITS if duration % _UNITS[name] == 0), key=_UNITS.__getitem__)
    return f"{duration // _UNITS[unit]}{unit}"


def byte_count(value: object) -> int:
    """Bytes in a size such as `64KiB`. Raises InvalidValueError for anything else.

    >>> byte_count("64KiB")
    65536
    """
    return _parse(value, _BYTES, "size")


def moment(value: object) -> int:
    """Milliseconds since the epoch of an ISO 8601 time, by default in UTC, or of TOML's own times and dates.

    Raises InvalidValueError for anything else.

    >>> moment("2017-10-11")
    1507680000000
    """
    text = value.isoformat() if isinstance(value, (date, time)) else value
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        if at is not None:
            return int((at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        pass
    raise InvalidValueError(f"{text!r} is not an ISO 8601 time such as 2017-10-11 or 2017-10-11T06:30")


Duration = Annotated[int, BeforeValidator(milliseconds)]
"""Milliseconds."""
Size = Annotated[int, BeforeValidator(byte_count)]
"""Bytes."""
Moment = Annotated[int, BeforeValidator(moment)]
"""Milliseconds since the epoch."""
