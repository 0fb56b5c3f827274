"""Open impressions by the moment at which what nobody has decided is given out as negative."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from streaming.join.window_queue import Entry


class Silences:
    """A queue of impressions, each due at a clock of its own."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def first(self) -> int | None:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else None

    def push(self, due: int, number: int, impression: str) -> None:
        heapq.heappush(self._heap, (due, number, impression))

    def pop(self) -> str:
        """The impression due next; at one moment, the one shown first."""
        return heapq.heappop(self._heap)[2]

    def dump(self, impressions: Collection[str]) -> list[Entry]:
        """Entries of these impressions, in order."""
        return sorted(entry for entry in self._heap if entry[2] in impressions)

    def load(self, entries: Iterable[Entry]) -> None:
        """Replace all by `entries`."""
        self._heap = sorted(entries)
