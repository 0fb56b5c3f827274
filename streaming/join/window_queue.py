"""Impressions in the order in which their windows close."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

Entry = tuple[int, int, str]
"""Event time, number of the event, impression."""


class WindowQueue:
    """A priority queue that is a plain queue for entries pushed in order, as nearly all are.

    A heap alone would touch a dozen entries far apart in memory for each one popped.
    """

    def __init__(self) -> None:
        self._in_order: deque[Entry] = deque()
        self._others: list[Entry] = []

    def __iter__(self) -> Iterator[Entry]:
        """All entries, the oldest first."""
        return heapq.merge(self._in_order, sorted(self._others))

    def push(self, entry: Entry) -> None:
        """Add an entry; the numbers of entries rise."""
        if not self._in_order or entry > self._in_order[-1]:
            self._in_order.append(entry)
        else:
            heapq.heappush(self._others, entry)

    def pop_before(self, time: float) -> Entry | None:
        """Remove and return the oldest, if it is older than `time`."""
        first, others = self._in_order, self._others
        if others and (not first or others[0] < first[0]):
            return heapq.heappop(others) if others[0][0] < time else None
        return first.popleft() if first and first[0][0] < time else None
