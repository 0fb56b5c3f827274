"""Opening the event log that a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recsys.errors import InvalidValueError

if TYPE_CHECKING:
    from streaming.log.event_log import EventLog

SCHEMES = ("file",)


def log_folder(url: str) -> Path:
    """The folder of `file:PATH`. Raises InvalidValueError for another scheme, and without a path.

    >>> log_folder("file:run/log")
    PosixPath('run/log')
    """
    scheme, colon, path = url.partition(":")
    if not colon or scheme not in SCHEMES:
        raise InvalidValueError(f"log {url!r}: write one of {', '.join(f'{known}:...' for known in SCHEMES)}")
    if not path:
        raise InvalidValueError(f"log {url!r} names no folder; write file:FOLDER, such as file:run/log")
    return Path(path.removeprefix("//"))


def open_log(url: str, partitions: int | None = None) -> EventLog:
    """The log at `url`, such as `file:run/log`; a log in a folder is made if it is not there.

    `partitions` is for a new log; None takes what is there, or 1. Raises InvalidValueError for an unknown scheme, and
    when the log has another number of partitions.
    """
    from streaming.log.file_log import FileLog  # here, because checking a URL needs no Arrow

    return FileLog(log_folder(url), partitions)
