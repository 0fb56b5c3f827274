"""Where the batch stage of a replay ends: `--batch-until`."""

from __future__ import annotations

from recsys.commands.options.iso_time import parse_time
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.online_stage import Share

OPTION = "--batch-until"


def parse_batch_until(text: str) -> int | Share:
    """An ISO time, in ms, or a share of the log such as 0.8. Raises InvalidValueError with the option."""
    try:
        share = float(text)
    except ValueError:
        return parse_time(text, OPTION)
    try:
        return Share(share)
    except InvalidValueError as error:
        raise InvalidValueError(f"{OPTION}: {error}") from None
