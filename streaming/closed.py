"""Impressions that closed lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Closed:
    """Ids of the last `capacity` impressions that closed, each until the watermark passes a given event time (ms)."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ids: set[str] = set()
        self._order: deque[tuple[str, int]] = deque()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, id_: str, until: int) -> None:
        self._ids.add(id_)
        self._order.append((id_, until))
        if len(self._order) > self._capacity:
            self._forget_first()

    def forget(self, watermark: int) -> None:
        while self._order and self._order[0][1] < watermark:
            self._forget_first()

    def dump(self) -> list[tuple[str, int]]:
        return list(self._order)

    def load(self, closed: Iterable[tuple[str, int]]) -> None:
        """Replace all by what `dump` gave."""
        self._order = deque(closed)
        self._ids = {id_ for id_, _ in self._order}

    def _forget_first(self) -> None:
        self._ids.remove(self._order.popleft()[0])
