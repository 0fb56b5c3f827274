"""Which items there are, how popular they are now, and how new: the sources of candidates until vectors retrieve."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from streaming.example import Example


class _State(msgspec.Struct):
    scores: dict[str, tuple[float, int]]
    first_seen: dict[str, int]


class Catalog:
    """Popularity that halves every `half_life` ms of event time, and the time at which each item was first seen.

    An item's popularity at time t is the sum over its positive labels of 2^-((t - t_label) / half_life). At most
    `capacity` items are remembered; beyond it those least recently seen first are forgotten.

    >>> catalog = Catalog(half_life=1000)
    >>> catalog.positive("a", time=0); catalog.positive("a", time=1000)
    >>> catalog.popularity("a", time=1000)
    1.5
    """

    def __init__(self, half_life: int, capacity: int = 1_000_000) -> None:
        self._half_life = half_life
        self._capacity = capacity
        self._scores: dict[str, tuple[float, int]] = {}
        self._first_seen: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._first_seen)

    def seen(self, items: Iterable[str], time: int) -> None:
        """Items that were shown or described at `time`."""
        for item in items:
            if item not in self._first_seen:
                self._first_seen[item] = time
                if len(self._first_seen) > self._capacity:
                    self._forget()

    def positive(self, item: str, time: int) -> None:
        """A positive label for `item`."""
        self.seen((item,), time)
        score, last = self._scores.get(item, (0.0, time))
        now = max(time, last)
        self._scores[item] = (score * self._decay(now - last) + self._decay(now - time), now)

    def observe(self, examples: Iterable[Example]) -> None:
        """What the joiner emitted: items that were shown, labels that turned out positive."""
        for example in examples:
            self.seen(example.items, example.time)
            for position, label in zip(example.positions, example.labels, strict=True):
                if label > 0:
                    self.positive(example.items[position], example.decided)

    def popularity(self, item: str, time: int) -> float:
        score, last = self._scores.get(item, (0.0, time))
        return score * self._decay(max(time - last, 0))

    def popular(self, count: int, time: int) -> list[tuple[str, float]]:
        """The most popular items with their popularity at `time`; equal ones by name."""
        scored = ((item, self.popularity(item, time)) for item in self._scores)
        return heapq.nsmallest(count, scored, key=lambda pair: (-pair[1], pair[0]))

    def recent(self, count: int) -> list[tuple[str, int]]:
        """The items first seen last, with that time; equal ones by name."""
        return heapq.nsmallest(count, self._first_seen.items(), key=lambda pair: (-pair[1], pair[0]))

    def state(self) -> bytes:
        return msgspec.msgpack.encode(_State(self._scores, self._first_seen))

    def restore(self, state: bytes) -> None:
        """Raises msgspec.ValidationError when `state` is not a catalog's."""
        loaded = msgspec.msgpack.decode(state, type=_State)
        self._scores, self._first_seen = loaded.scores, loaded.first_seen

    def _decay(self, age: int) -> float:
        return float(2.0 ** (-age / self._half_life))

    def _forget(self) -> None:
        """Drop the oldest tenth at once, so that a full catalog costs no sort per item."""
        for item, _ in heapq.nsmallest(self._capacity // 10 + 1, self._first_seen.items(), key=lambda pair: pair[1]):
            del self._first_seen[item]
            self._scores.pop(item, None)
