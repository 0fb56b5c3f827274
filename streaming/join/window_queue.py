"""Impressions in the order in which their windows close."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

Entry = tuple[int, int, str]
"""Event time, number of the event, impression."""


class WindowQueue:
    """A priority queue that costs nothing extra for what comes in order, as nearly everything does.

    A heap alone would touch a dozen entries far apart in memory for each that it gives out.
    """

    def __init__(self) -> None:
        self._in_order: deque[Entry] = deque()
        self._others: list[Entry] = []

    def __iter__(self) -> Iterator[Entry]:
        """All, the oldest first."""
        return heapq.merge(self._in_order, sorted(self._others))

    def push(self, entry: Entry) -> None:
        """Entries differ in their number, which rises."""
        if not self._in_order or entry > self._in_order[-1]:
            self._in_order.append(entry)
        else:
            heapq.heappush(self._others, entry)

    def pop_before(self, time: float) -> Entry | None:
        """The oldest, if it is older than `time`."""
        first, others = self._in_order, self._others
        if others and (not first or others[0] < first[0]):
            return heapq.heappop(others) if others[0][0] < time else None
        return first.popleft() if first and first[0][0] < time else None
