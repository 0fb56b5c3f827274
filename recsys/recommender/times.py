"""Times and shares of a log, as programs write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from numbers import Integral

from recsys.commands.options.iso_time import parse_time
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.online_stage import Share

Time = int | str | datetime
"""Event time: ms since the epoch, ISO 8601, or a datetime; UTC where no zone is given."""


def millis(time: Time, name: str) -> int:
    """In ms since the epoch. An InvalidValueError names `name`.

    >>> millis(datetime(2017, 10, 11), "until"), millis("2017-10-11", "until"), millis(1507680000000, "until")
    (1507680000000, 1507680000000, 1507680000000)
    """
    if isinstance(time, str):
        return parse_time(time, name)
    if isinstance(time, datetime):
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(time, Integral) and not isinstance(time, bool):
        return int(time)
    raise InvalidValueError(f"{name}: {time!r} is no time: give ms since the epoch, ISO 8601 text, or a datetime")


def refreshes_of(refresh: str | Sequence[str]) -> list[str]:
    """Rules of when the online arm learns, one or several. Raises InvalidValueError for what is no text.

    >>> refreshes_of("1h"), refreshes_of(["1h", "50 slices"])
    (['1h'], ['1h', '50 slices'])
    """
    write = "write '1h' or '50 slices', or a list of these"
    found = [refresh] if isinstance(refresh, str) else refresh
    if not isinstance(found, Iterable):
        raise InvalidValueError(f"refresh is {refresh!r:.80}, {write}")
    for one in (checked := list(found)):
        if not isinstance(one, str):
            raise InvalidValueError(f"refresh has {one!r:.80}, {write}")
    if not checked:
        raise InvalidValueError(f"refresh is empty, {write}")
    return checked


def batch_end(end: float | Time) -> int | Share:
    """Where a batch stage ends: a share of the shown items, such as 0.8, or a time. Raises InvalidValueError."""
    if isinstance(end, float):
        try:
            return Share(end)
        except InvalidValueError as error:
            raise InvalidValueError(f"batch_until: {error}") from None
    return millis(end, "batch_until")
