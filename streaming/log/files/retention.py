"""Removing the oldest segments of a log in files.

A segment goes as a whole, when each of its events is older than what is kept. The oldest goes first and its removal is
durable before that of the next, so a kill -9 or a power cut in between leaves a log that only begins later.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from recsys.errors import LogError
from streaming.events.columns import times
from streaming.log.durable_files import sync
from streaming.log.files.segment import Segment

MOST = 4
"""Segments that are removed together: each has to be read, so what is long overdue goes over several appends."""

_logger = logging.getLogger(__name__)


def remove_expired(segments: Sequence[Segment], before: int, consumers: Path, fsync: bool) -> None:
    """Remove the oldest segments of a partition, at most `MOST`, that have no event from time `before` (ms) on.

    The newest one stays. Warns of each consumer, in the folder `consumers`, that has not read what is removed. What
    cannot be removed stays with a warning: events were appended, and that must not look as if it had failed.
    """
    try:
        count = sum(1 for _ in takewhile(lambda segment: _is_older(segment, before), segments[:-1][:MOST]))
        if count:
            _tell(consumers, int(segments[0].path.parent.name), segments[count].base)
            remove(segments[:count], fsync)
    except (LogError, OSError, ValueError) as error:
        _logger.warning("[log] keep: old events stay: %s", error)


def remove(segments: Sequence[Segment], fsync: bool) -> None:
    """Remove the oldest segments of a partition, in order; readers of them find that the log begins later."""
    for segment in segments:
        segment.path.unlink()
        if fsync:
            sync(segment.path.parent)


def _is_older(segment: Segment, before: int) -> bool:
    """Looks at the end of the segment first, which tells of most that they stay."""
    return all(int(times(events).max()) < before for events in segment.backwards())


def _tell(consumers: Path, partition: int, first: int) -> None:
    for path in sorted(consumers.glob("*.json")):
        offset = json.loads(path.read_bytes())["cursor"][partition]
        if offset < first:
            _logger.warning(
                "[log] keep: events %d to %d of partition %d are removed before %s has read them; it cannot go on from "
                "its checkpoint, as it will say",
                *(offset, first - 1, partition, path.stem),
            )
