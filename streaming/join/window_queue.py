"""Impressions in the order in which their windows close."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator

Entry = tuple[int, int, str]
"""Event time, number of the event, impression."""


class WindowQueue:
    """A priority queue that is a plain queue for entries pushed in order, as nearly all are.

    A heap alone would touch a dozen entries far apart in memory for each one popped. `first` is the time of the oldest
    entry, infinite without one.
    """

    def __init__(self) -> None:
        self._in_order: deque[Entry] = deque()
        self._others: list[Entry] = []
        self._last: float = -math.inf
        """Time of the last entry that was pushed in order."""
        self.first: float = math.inf

    def __iter__(self) -> Iterator[Entry]:
        """All entries, the oldest first."""
        return heapq.merge(self._in_order, sorted(self._others))

    def push(self, entry: Entry) -> None:
        """Add an entry; the numbers of entries rise."""
        time = entry[0]
        if time >= self._last:
            self._in_order.append(entry)
            self._last = time
        else:
            heapq.heappush(self._others, entry)
        if time < self.first:
            self.first = time

    def pop(self) -> Entry:
        """Remove and return the oldest. Raises IndexError when there is none."""
        in_order, others = self._in_order, self._others
        if not others:
            entry = in_order.popleft()
            self.first = in_order[0][0] if in_order else math.inf
            return entry
        entry = heapq.heappop(others) if not in_order or others[0] < in_order[0] else in_order.popleft()
        self.first = min(queue[0][0] if queue else math.inf for queue in (in_order, others))
        return entry
