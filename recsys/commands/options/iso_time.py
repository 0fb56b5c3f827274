"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from recsys.errors import InvalidValueError


def parse_time(text: str, option: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time, by default in UTC. An InvalidValueError names `option`.

    >>> parse_time("2017-10-11", "--until")
    1507680000000
    """
    try:
        time = datetime.fromisoformat(text)
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidValueError(
            f"{option}: {text!r} is not an ISO 8601 time such as 2017-10-11 or 2017-10-11T06:30"
        ) from None


def written_time(millis: int) -> str:
    """ISO 8601, in UTC, to the second.

    >>> written_time(1507680000123)
    '2017-10-11T00:00:00Z'
    """
    return datetime.fromtimestamp(millis // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
