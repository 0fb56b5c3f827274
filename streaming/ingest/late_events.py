"""Counting events that come into the log when the joiner can use them no more."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from streaming.events.columns import INTERACTION, kinds, times
from streaming.log.event_log import EventLog

TAIL = 65_536
"""Events at the end of each partition among which the newest is looked for."""


class LateEvents:
    """Impressions and interactions older than the newest event of their partition by more than `slack` ms.

    Updates of users and items are never too late: features hold until newer ones come.
    """

    def __init__(self, log: EventLog, slack: int) -> None:
        self.slack = slack
        self.count = 0
        self._newest = [_newest(log, p, *at) for p, at in enumerate(zip(log.begin(), log.end(), strict=True))]

    def add(self, events: pa.RecordBatch, partition: int) -> None:
        """Count those among `events`, which were appended to the partition."""
        times_N = times(events)
        newest_N = np.maximum.accumulate(np.maximum(times_N, self._newest[partition]))
        self.count += int(np.count_nonzero((times_N < newest_N - self.slack) & (kinds(events) <= INTERACTION)))
        self._newest[partition] = int(newest_N[-1])


def _newest(log: EventLog, partition: int, begin: int, end: int) -> int:
    """The newest time in the tail of the partition; 0 without events."""
    newest, offset = 0, max(begin, end - TAIL)
    while offset < end:
        chunk = log.read(partition, offset, end - offset)
        newest = max(newest, int(times(chunk.events).max()))
        offset = chunk.next_offset
    return newest
