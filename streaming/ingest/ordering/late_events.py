"""Counting events that are appended too late for the joiner.

Shape suffixes: N events.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from streaming.events.columns import INTERACTION, kinds, times

TAIL = 65_536
"""Least number of events at the end of each partition in which the newest time is looked for."""


class LateEvents:
    """Impressions and interactions older than the newest event of their partition by more than `slack` ms.

    Updates of users and items are never late: features hold until newer ones come.
    """

    def __init__(self, partitions: int, slack: int) -> None:
        self.slack = slack
        self.count = 0
        self._newest = [0] * partitions

    def observe(self, events: pa.RecordBatch, partition: int) -> None:
        """Events that are in the partition already: not counted, but others may be late after them."""
        self._newest[partition] = max(self._newest[partition], int(times(events).max(initial=0)))

    def add(self, events: pa.RecordBatch, partition: int) -> None:
        """Count the late ones among `events`, which were appended to the partition; at least one event."""
        times_N = times(events)
        newest_N = np.maximum.accumulate(np.maximum(times_N, self._newest[partition]))
        self.count += int(np.count_nonzero((times_N < newest_N - self.slack) & (kinds(events) <= INTERACTION)))
        self._newest[partition] = int(newest_N[-1])
