"""Open impressions in the order in which their silence is due."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain

from streaming.join.open_impression import OpenImpression

Entry = tuple[int, int, OpenImpression]
"""The clock at which it is due (ms), number of the event, impression."""


class DueQueue:
    """A priority queue in which only what is due soon is in order; the rest lies in buckets of `width` ms.

    A heap of all would compare a dozen entries for each one popped. `first` is the clock at which the first entry is
    due, infinite without one.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self.load(())

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Entry]:
        """All entries, the first due first."""
        return iter(sorted(chain(self._soon, *self._later.values())))

    def load(self, entries: Iterable[Entry]) -> None:
        """Replace the content."""
        self._size = 0
        self._soon: list[Entry] = []
        """A heap of the entries due before `_horizon`."""
        self._horizon: float = -math.inf
        self._later: dict[int, list[Entry]] = {}
        self._buckets: list[int] = []
        """A heap of the keys of `_later`."""
        self.first: float = math.inf
        for entry in entries:
            self.push(entry)

    def push(self, entry: Entry) -> None:
        due = entry[0]
        self._size += 1
        if due < self.first:
            self.first = due
        if due < self._horizon:
            heappush(self._soon, entry)
            return
        bucket = due // self._width
        entries = self._later.get(bucket)
        if entries is None:
            self._later[bucket] = [entry]
            heappush(self._buckets, bucket)
        else:
            entries.append(entry)

    def pop(self) -> Entry:
        """Remove and return the first. Raises IndexError when there is none."""
        if not self._soon:
            self._fetch()
        entry = heappop(self._soon)
        self._size -= 1
        if not self._soon and self._buckets:
            self._fetch()
        self.first = self._soon[0][0] if self._soon else math.inf
        return entry

    def _fetch(self) -> None:
        """Bring the next bucket in order."""
        bucket = heappop(self._buckets)
        self._soon = self._later.pop(bucket)
        self._soon.sort()
        self._horizon = (bucket + 1) * self._width
