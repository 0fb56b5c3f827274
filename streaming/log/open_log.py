"""Opening the event log that a URL names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.errors import InvalidValueError

if TYPE_CHECKING:
    from streaming.log.event_log import EventLog

Opener = Callable[[str, int | None], "EventLog"]
"""From the place, which is the URL without its scheme, and the number of partitions of a new log."""


def _file_log(place: str, partitions: int | None) -> EventLog:
    from streaming.log.file_log import FileLog  # here, because checking a URL needs no Arrow

    return FileLog(Path(place), partitions)


LOGS: dict[str, Opener] = {"file": _file_log}
"""How a log is opened, by the scheme of its URL."""


def split_url(url: str) -> tuple[str, str]:
    """The scheme and the place. Raises InvalidValueError for an unknown scheme, and without a place.

    >>> split_url("file:run/log"), split_url("file:///run/log")
    (('file', 'run/log'), ('file', '/run/log'))
    """
    scheme, colon, place = url.partition(":")
    if not colon or scheme not in LOGS:
        known = ", ".join(f"{name}:PLACE" for name in LOGS)
        raise InvalidValueError(f"log {url!r} has no known scheme: write {known}")
    if scheme == "file":
        place = place.removeprefix("//")
    if not place:
        raise InvalidValueError(f"log {url!r} names no place; write {scheme}:PLACE, such as file:run/log")
    return scheme, place


def local_path(url: str) -> Path | None:
    """The path that the URL names; None if it names a host, `SCHEME://HOST`. Raises as `split_url` does."""
    _, place = split_url(url)
    return None if place.startswith("//") else Path(place)


def open_log(url: str, partitions: int | None = None) -> EventLog:
    """The log at `url`, such as `file:run/log`; a log at a path is made if it is not there.

    `partitions` is for a new log; None takes what is there, or 1. Raises InvalidValueError for an unknown scheme, and
    when the log has another number of partitions.
    """
    scheme, place = split_url(url)
    return LOGS[scheme](place, partitions)
