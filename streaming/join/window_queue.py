"""Open impressions in the order in which their windows close."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator

from streaming.join.open_impression import OpenImpression

_Entry = tuple[int, int, OpenImpression]
"""Event time, number of the event, impression."""


class WindowQueue:
    """A priority queue, by event time and number, that is a plain queue for what is pushed in order, as nearly all is.

    A heap alone would touch a dozen entries far apart in memory for each one popped. `first` is the time of the oldest
    impression, infinite without one.
    """

    def __init__(self) -> None:
        self._in_order: deque[OpenImpression] = deque()
        self._others: list[_Entry] = []
        self._last: float = -math.inf
        """Time of the last one that was pushed in order."""
        self.first: float = math.inf

    def __iter__(self) -> Iterator[OpenImpression]:
        """All, the oldest first."""
        entries = heapq.merge(map(_entry, self._in_order), sorted(self._others))
        return (shown for _, _, shown in entries)

    def push(self, shown: OpenImpression) -> None:
        """Add an impression; their numbers rise."""
        time = shown.time
        if time >= self._last:
            self._in_order.append(shown)
            self._last = time
        else:
            heapq.heappush(self._others, _entry(shown))
        if time < self.first:
            self.first = time

    def pop(self) -> OpenImpression:
        """Remove and return the oldest. Raises IndexError when there is none."""
        in_order, others = self._in_order, self._others
        if others and (not in_order or others[0] < _entry(in_order[0])):
            shown = heapq.heappop(others)[2]
        else:
            shown = in_order.popleft()
        first = in_order[0].time if in_order else math.inf
        self.first = others[0][0] if others and others[0][0] < first else first
        return shown


def _entry(shown: OpenImpression) -> _Entry:
    return shown.time, shown.number, shown
