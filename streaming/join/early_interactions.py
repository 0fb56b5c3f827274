"""Interactions that came before their impression."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from streaming.join.event_rows import InteractionRow


class EarlyInteractions:
    """At most `capacity` interactions, by impression in order of arrival, and by event time for giving up on them."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0
        self._by_time: list[tuple[int, int, str]] = []
        self.by_impression: dict[str, dict[int, InteractionRow]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, number: int, acted: InteractionRow) -> int:
        """Hold event `number`; returns how many were given up to make room."""
        self._count += 1
        self.by_impression.setdefault(acted.impression, {})[number] = acted
        heapq.heappush(self._by_time, (acted.time, number, acted.impression))
        gone = 0
        while self._count > self._capacity:
            gone += self._drop_first()
        return gone

    def take(self, impression: str) -> list[InteractionRow]:
        """What is held for `impression`, in order of arrival; held no more."""
        taken = list(self.by_impression.pop(impression, {}).values())
        self._count -= len(taken)
        if not self._count:
            self._by_time.clear()
        return taken

    def expire(self, watermark: float) -> int:
        """Give up on those older than `watermark`; returns how many."""
        gone = 0
        while self._by_time and self._by_time[0][0] < watermark:
            gone += self._drop_first()
        return gone

    def clear(self) -> int:
        """Give up on all; returns how many."""
        gone = self._count
        self.load(())
        return gone

    def dump(self) -> list[tuple[int, InteractionRow]]:
        return sorted((pair for held in self.by_impression.values() for pair in held.items()), key=lambda pair: pair[0])

    def load(self, held: Iterable[tuple[int, InteractionRow]]) -> None:
        """Replace all by what `dump` gave."""
        self._count, self._by_time, self.by_impression = 0, [], {}
        for number, acted in held:
            self.add(number, acted)

    def _drop_first(self) -> int:
        """Take the oldest off the heap; 0 when `take` had been there before."""
        _, number, impression = heapq.heappop(self._by_time)
        held = self.by_impression.get(impression, {})
        if held.pop(number, None) is None:
            return 0
        if not held:
            del self.by_impression[impression]
        self._count -= 1
        return 1
