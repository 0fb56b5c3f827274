"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from recsys.config.units import moment
from recsys.errors import InvalidValueError


def parse_time(text: str, option: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time, by default in UTC. An InvalidValueError names `option`.

    >>> parse_time("2017-10-11", "--until")
    1507680000000
    """
    try:
        return moment(text)
    except InvalidValueError as error:
        raise InvalidValueError(f"{option}: {error}") from None


def written_time(millis: int) -> str:
    """ISO 8601, in UTC, to the second.

    >>> written_time(1507680000123)
    '2017-10-11T00:00:00Z'
    """
    return datetime.fromtimestamp(millis // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
