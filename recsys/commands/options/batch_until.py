"""Where the batch stage of a replay ends."""

from __future__ import annotations

from recsys.commands.options.iso_time import parse_time
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.judge import check_share, share_of, shown_times
from streaming.log.event_log import EventLog

OPTION = "--batch-until"


def check_end_of_batch(text: str) -> None:
    """Raises ValueError for what is wrong whatever the log has."""
    _share_or_time(text)


def end_of_batch(text: str, log: EventLog) -> int:
    """Of `--batch-until`: an ISO time, or a share of the log such as 0.8."""
    end = _share_or_time(text)
    if isinstance(end, int):
        return end
    try:
        return share_of(shown_times(log), end)
    except ValueError as error:
        raise InvalidValueError(f"{OPTION}: {error}") from None


def _share_or_time(text: str) -> float | int:
    """A share as a float, a time as an int (ms)."""
    try:
        share = float(text)
    except ValueError:
        return parse_time(text, OPTION)
    try:
        check_share(share)
    except ValueError as error:
        raise InvalidValueError(f"{OPTION}: {error}") from None
    return share
