"""Interactions that came before their impression."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from streaming.columns import Acted


class Held:
    """At most `capacity` interactions, by impression in order of arrival, and by event time for giving up on them."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._by_number: dict[int, Acted] = {}
        self._by_impression: dict[str, list[int]] = {}
        self._by_time: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._by_number)

    def __contains__(self, impression: str) -> bool:
        return impression in self._by_impression

    def add(self, number: int, acted: Acted) -> int:
        """Hold event `number`; returns how many were given up to make room."""
        self._by_number[number] = acted
        self._by_impression.setdefault(acted.impression, []).append(number)
        heapq.heappush(self._by_time, (acted.time, number))
        return self._drop_oldest() if len(self) > self._capacity else 0

    def take(self, impression: str) -> list[Acted]:
        """What is held for `impression`, in order of arrival; held no more."""
        return [self._by_number.pop(number) for number in self._by_impression.pop(impression, ())]

    def expire(self, watermark: int) -> int:
        """Give up on those older than `watermark`; returns how many."""
        gone = 0
        while self._by_time and self._by_time[0][0] < watermark:
            gone += self._drop_first()
        return gone

    def clear(self) -> int:
        gone = len(self)
        self.load(())
        return gone

    def dump(self) -> list[tuple[int, Acted]]:
        return list(self._by_number.items())

    def load(self, held: Iterable[tuple[int, Acted]]) -> None:
        """Replace all by what `dump` gave."""
        self._by_number, self._by_impression, self._by_time = {}, {}, []
        for number, acted in held:
            self.add(number, acted)

    def _drop_oldest(self) -> int:
        while not self._drop_first():
            pass
        return 1

    def _drop_first(self) -> int:
        """Take the first off the heap; 0 when it had been taken from under it before."""
        _, number = heapq.heappop(self._by_time)
        acted = self._by_number.pop(number, None)
        if acted is None:
            return 0
        siblings = self._by_impression[acted.impression]
        siblings.remove(number)
        if not siblings:
            del self._by_impression[acted.impression]
        return 1
