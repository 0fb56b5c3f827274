"""Where the batch stage of a replay ends."""

from __future__ import annotations

from recsys.commands.times import parse_time
from recsys.replay.judge import share_of, shown_times
from streaming.log import EventLog


def end_of_batch(text: str, log: EventLog) -> int:
    """Of `--batch-until`: an ISO time, or a share of the log such as 0.8."""
    try:
        share = float(text)
    except ValueError:
        return parse_time(text, "--batch-until")
    try:
        return share_of(shown_times(log), share)
    except ValueError as error:
        raise ValueError(f"--batch-until: {error}") from None
