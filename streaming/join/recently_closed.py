"""Impressions whose window closed recently."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class RecentlyClosed:
    """`ids` of the last `capacity` impressions that closed, each until the watermark passes a given event time (ms)."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.ids: set[str] = set()
        self._order: deque[str] = deque()
        self._until: deque[int] = deque()

    def add(self, id_: str, until: int, watermark: int) -> None:
        """Remember `id_`; forget those whose time the watermark has passed."""
        self.ids.add(id_)
        self._order.append(id_)
        self._until.append(until)
        while self._until[0] < watermark or len(self._order) > self._capacity:
            self._until.popleft()
            self.ids.remove(self._order.popleft())

    def dump(self) -> list[tuple[str, int]]:
        """Id and time until which it is remembered, oldest first."""
        return list(zip(self._order, self._until, strict=True))

    def load(self, closed: Iterable[tuple[str, int]]) -> None:
        """Replace the content by what `dump` returned."""
        self.ids, self._order, self._until = set(), deque(), deque()
        for id_, until in closed:
            self.add(id_, until, watermark=0)
