"""Interactions that came before their impression."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from streaming.join.columns_to_rows import InteractionRow


class EarlyInteractions:
    """At most `capacity` interactions, by impression in order of arrival; beyond it the oldest is dropped."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0
        self._by_time: list[tuple[int, int, str]] = []
        self.by_impression: dict[str, dict[int, InteractionRow]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, number: int, acted: InteractionRow) -> int:
        """Hold event `number`; returns how many were dropped to make room."""
        self._count += 1
        self.by_impression.setdefault(acted.impression, {})[number] = acted
        heapq.heappush(self._by_time, (acted.time, number, acted.impression))
        dropped = 0
        while self._count > self._capacity:
            dropped += self._drop_first()
        if len(self._by_time) > 2 * self._capacity:  # nearly all were taken while the clock stood still
            self.load(self.dump())
        return dropped

    def take(self, impression: str) -> list[InteractionRow]:
        """Remove and return the interactions of `impression`, in order of arrival."""
        taken = list(self.by_impression.pop(impression, {}).values())
        self._count -= len(taken)
        if not self._count:
            self._by_time.clear()
        return taken

    def expire(self, watermark: float) -> int:
        """Drop those older than `watermark`; returns how many."""
        dropped = 0
        while self._by_time and self._by_time[0][0] < watermark:
            dropped += self._drop_first()
        return dropped

    def clear(self) -> int:
        """Drop all; returns how many."""
        dropped = self._count
        self.load(())
        return dropped

    def dump(self) -> list[tuple[int, InteractionRow]]:
        """By number of the event."""
        return sorted((pair for held in self.by_impression.values() for pair in held.items()), key=lambda pair: pair[0])

    def load(self, held: Iterable[tuple[int, InteractionRow]]) -> None:
        """Replace the content by what `dump` returned."""
        self._count, self._by_time, self.by_impression = 0, [], {}
        for number, acted in held:
            self.add(number, acted)

    def _drop_first(self) -> int:
        """Drop the oldest; 0 when `take` has removed it before."""
        _, number, impression = heapq.heappop(self._by_time)
        held = self.by_impression.get(impression, {})
        if held.pop(number, None) is None:
            return 0
        if not held:
            del self.by_impression[impression]
        self._count -= 1
        return 1
