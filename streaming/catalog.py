"""The items there are, how popular and how new they are: where candidates come from."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping

import msgspec

from recsys.errors import StateError
from streaming.join.labeled_impression import LabeledImpression


class _CatalogState(msgspec.Struct):
    weights: dict[str, float]
    first_seen: dict[str, int]


class Leaders:
    """The items with the greatest values. Values only grow, so only items that changed can become leaders."""

    def __init__(self) -> None:
        self._leaders: list[str] | None = None
        self._changed: set[str] = set()

    def changed(self, item: str) -> None:
        self._changed.add(item)

    def top(self, values: Mapping[str, float], count: int) -> list[str]:
        """The `count` items with the greatest values; equal ones by name."""
        known = self._leaders
        some = values if known is None or len(known) < min(count, len(values)) else self._changed.union(known)
        self._leaders = heapq.nsmallest(count, some, key=lambda item: (-values[item], item))
        self._changed.clear()
        return self._leaders


class Catalog:
    """Popularity that halves every `half_life` ms of event time, and the time at which each item was first seen.

    An item's popularity at time t is the sum over its positive labels of 2^-((t - t_label) / half_life). The logarithm
    of that sum at time 0 is stored, which does not change as time passes. At most `capacity` items are remembered;
    beyond it those first seen longest ago are forgotten.

    >>> catalog = Catalog(half_life=1000)
    >>> catalog.positive("a", time=0); catalog.positive("a", time=1000)
    >>> round(catalog.popularity("a", time=1000), 9)
    1.5
    """

    def __init__(self, half_life: int, capacity: int = 1_000_000) -> None:
        self._half_life = half_life
        self._capacity = capacity
        self._weights: dict[str, float] = {}
        self._first_seen: dict[str, int] = {}
        self._popular, self._recent = Leaders(), Leaders()

    def __len__(self) -> int:
        return len(self._first_seen)

    def seen(self, items: Iterable[str], time: int) -> None:
        """Items that were shown or described at `time`."""
        for item in items:
            if item not in self._first_seen:
                self._first_seen[item] = time
                self._recent.changed(item)
                if len(self._first_seen) > self._capacity:
                    self._forget()

    def positive(self, item: str, time: int) -> None:
        """A positive label for `item`."""
        self.seen((item,), time)
        one = time / self._half_life
        known = self._weights.get(item, -math.inf)
        high, low = max(known, one), min(known, one)
        self._weights[item] = high + math.log2(1 + 2.0 ** (low - high))
        self._popular.changed(item)

    def observe(self, impressions: Iterable[LabeledImpression]) -> None:
        """Take the items that were shown, and the positive labels."""
        for impression in impressions:
            self.seen(impression.items, impression.time)
            for position, label in zip(impression.positions, impression.labels, strict=True):
                if label > 0:
                    self.positive(impression.items[position], impression.decided)

    def popularity(self, item: str, time: int) -> float:
        """At event time `time`, ms; 0 for an item without positive labels."""
        return float(2.0 ** (self._weights.get(item, -math.inf) - time / self._half_life))

    def popular(self, count: int) -> list[tuple[str, float]]:
        """The most popular items, each with its popularity as a share of the first one's; equal ones by name."""
        items = self._popular.top(self._weights, count)
        return [(item, float(2.0 ** (self._weights[item] - self._weights[items[0]]))) for item in items]

    def recent(self, count: int) -> list[tuple[str, int]]:
        """The items first seen last, with that time; equal ones by name."""
        return [(item, self._first_seen[item]) for item in self._recent.top(self._first_seen, count)]

    def state(self) -> bytes:
        return msgspec.msgpack.encode(_CatalogState(self._weights, self._first_seen))

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not a catalog's."""
        try:
            loaded = msgspec.msgpack.decode(state, type=_CatalogState)
        except msgspec.DecodeError as error:
            raise StateError(f"not a catalog's state: {error}") from error
        self._weights, self._first_seen = loaded.weights, loaded.first_seen
        self._reset()

    def _forget(self) -> None:
        """Drop the oldest tenth at once, so that a full catalog costs no sort per item."""
        for item in heapq.nsmallest(self._capacity // 10 + 1, self._first_seen, key=self._first_seen.__getitem__):
            del self._first_seen[item]
            self._weights.pop(item, None)
        self._reset()

    def _reset(self) -> None:
        self._popular, self._recent = Leaders(), Leaders()
