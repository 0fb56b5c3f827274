"""The items there are, how popular and how new they are: where candidates come from."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import filterfalse

import msgspec

from recsys.errors import StateError
from streaming.decayed import grown
from streaming.join.labeled_impression import LabeledImpression

_LONG = 64
"""Items of a list that is remembered as looked through: each click of it gives the whole list again."""
_LISTS = 256


class _CatalogState(msgspec.Struct):
    weights: dict[str, float]
    first_seen: dict[str, int]
    withdrawn: dict[str, tuple[float, int]] = {}
    stated: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class CatalogChanges:
    """What changed since the last look: items that came, came back or were clicked, and those that are gone."""

    changed: list[str]
    removed: list[str]
    full: bool = False
    """Whether `changed` has all items there are, so that a reader must remove others."""


class Leaders:
    """The items with the greatest values. Values only grow, so only items that changed can become leaders."""

    def __init__(self) -> None:
        self._leaders: list[str] | None = None
        self._changed: set[str] = set()

    def changed(self, item: str) -> None:
        self._changed.add(item)

    def removed(self, item: str) -> None:
        """The item has no value any more. The leaders that remain are still the best."""
        self._changed.discard(item)
        if self._leaders is not None and item in self._leaders:
            self._leaders.remove(item)

    def top(self, values: Mapping[str, float], count: int) -> list[str]:
        """The `count` items with the greatest values; equal ones by name."""
        known = self._leaders
        if known is None or len(known) < min(count, len(values)):
            some, kept = set(values), count + count // 4  # a reserve, so that not every removal costs a look at all
        else:
            some, kept = self._changed.union(known), len(known)
        self._leaders = heapq.nsmallest(kept, some, key=lambda item: (-values[item], item))
        self._changed.clear()
        return self._leaders[:count]


class Catalog:
    """Popularity that halves every `half_life` ms of event time, and the time at which each item was first seen.

    An item's popularity at time t is the sum over its positive labels of 2^-((t - t_label) / half_life). The logarithm
    of that sum at time 0 is stored, which does not change as time passes. At most `capacity` items are remembered;
    beyond it those first seen longest ago are forgotten. Items that are withdrawn are among neither, and have their
    popularity again when they come back; as many of them are remembered, those withdrawn last.

    A label counts 1 / its logged propensity, which is at least `min_propensity`: an item that is shown more often would
    else be more popular for that alone, and shown more often still.

    >>> catalog = Catalog(half_life=1000)
    >>> catalog.positive("a", time=0); catalog.positive("a", time=1000)
    >>> round(catalog.popularity("a", time=1000), 9)
    1.5
    """

    def __init__(self, half_life: int, capacity: int = 1_000_000, min_propensity: float = 1.0) -> None:
        self._half_life, self._min_propensity = half_life, min_propensity
        self._capacity = capacity
        self._weights: dict[str, float] = {}
        self._first_seen: dict[str, int] = {}
        self._withdrawn: dict[str, tuple[float, int]] = {}
        """The weight and first time of each withdrawn item, in the order of their withdrawal."""
        self._stated: dict[str, int] = {}
        """When an item was last said to be available or not."""
        self._popular, self._recent = Leaders(), Leaders()
        self._changed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._full = True
        self._known_lists: dict[int, tuple[str, ...]] = {}
        """Lists whose items are all known, by identity: they are held, so that no other object gets it."""

    def __len__(self) -> int:
        return len(self._first_seen)

    def seen(self, items: Iterable[str], time: int) -> None:
        """Items that were shown or described at `time`."""
        for item in filterfalse(self._first_seen.__contains__, items):  # of long lists, nearly all are known
            if item not in self._withdrawn:
                self._first_seen[item] = time
                self._recent.changed(item)
                self._mark(item)
                if len(self._first_seen) > self._capacity:
                    self._forget()

    def available(self, item: str, time: int, *, is_so: bool) -> None:
        """From `time` on the item is recommended, or not; the statement with the latest time counts."""
        if time < self._stated.get(item, time):
            return
        self._stated[item] = time
        if is_so:
            self._bring_back(item)
        elif item not in self._withdrawn:
            self._withdraw(item, time)

    def positive(self, item: str, time: int, propensity: float = 1.0) -> None:
        """A positive label for `item`, which was shown with this propensity."""
        self.seen((item,), time)
        by = 1 / max(propensity, self._min_propensity)
        if item in self._withdrawn:
            weight, first = self._withdrawn[item]
            self._withdrawn[item] = grown(weight, time, self._half_life, by), first
        else:
            self._weights[item] = grown(self._weights.get(item, -math.inf), time, self._half_life, by)
            self._popular.changed(item)
            self._mark(item)

    def observe(self, impressions: Iterable[LabeledImpression]) -> None:
        """Take the items that were shown, and the positive labels."""
        for impression in impressions:
            self._shown(impression.items, impression.time)
            chances = impression.propensities
            for position, label in zip(impression.positions, impression.labels, strict=True):
                if label > 0:
                    chance = chances[position] if chances else 1.0
                    self.positive(impression.items[position], impression.decided, chance)

    def _shown(self, items: tuple[str, ...], time: int) -> None:
        if id(items) in self._known_lists:
            return
        if len(items) > _LONG:
            self._known_lists[id(items)] = items
            if len(self._known_lists) > _LISTS:
                del self._known_lists[next(iter(self._known_lists))]
        self.seen(items, time)  # which clears the known lists, if it forgets an item

    def forget(self, user: str) -> int:  # noqa: ARG002 - as an observer
        """Nothing: it names no user."""
        return 0

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

    def names(self) -> list[str]:
        """All items there are."""
        return list(self._first_seen)

    def __contains__(self, item: object) -> bool:
        return item in self._first_seen

    def drain_changes(self) -> CatalogChanges:
        """What changed since the last drain; all items at first, and after `change_all`."""
        changed = self.names() if self._full else [item for item in self._changed if item in self]
        changes = CatalogChanges(changed, list(self._removed), self._full)
        self._changed, self._removed, self._full = {}, {}, False
        return changes

    def change_all(self) -> None:
        """Mark all as changed, because it is unknown what a reader has."""
        self._changed, self._removed, self._full = {}, {}, True

    def restore_changes(self, changes: CatalogChanges) -> None:
        """Count these as changed again."""
        if changes.full:
            self.change_all()
        for item in (*changes.changed, *changes.removed):
            self._mark(item)

    def state(self) -> bytes:
        return msgspec.msgpack.encode(_CatalogState(self._weights, self._first_seen, self._withdrawn, self._stated))

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not a catalog's."""
        try:
            loaded = msgspec.msgpack.decode(state, type=_CatalogState)
        except msgspec.DecodeError as error:
            raise StateError(f"not a catalog's state: {error}") from error
        self._weights, self._first_seen = loaded.weights, loaded.first_seen
        self._withdrawn, self._stated = loaded.withdrawn, loaded.stated
        self._reset()
        self.change_all()

    def _withdraw(self, item: str, time: int) -> None:
        self._withdrawn[item] = self._weights.pop(item, -math.inf), self._first_seen.pop(item, time)
        self._popular.removed(item)
        self._recent.removed(item)
        self._mark(item)
        if len(self._withdrawn) > self._capacity:
            oldest = next(iter(self._withdrawn))
            del self._withdrawn[oldest], self._stated[oldest]
            self._known_lists.clear()

    def _bring_back(self, item: str) -> None:
        if item not in self._withdrawn:
            return
        weight, first = self._withdrawn.pop(item)
        self.seen((item,), first)
        if weight > -math.inf and item in self._first_seen:
            self._weights[item] = weight
            self._popular.changed(item)

    def _forget(self) -> None:
        """Drop the oldest tenth at once, so that a full catalog costs no sort per item."""
        for item in heapq.nsmallest(self._capacity // 10 + 1, self._first_seen, key=self._first_seen.__getitem__):
            del self._first_seen[item]
            self._weights.pop(item, None)
            self._stated.pop(item, None)
            self._mark(item)
        self._reset()

    def _mark(self, item: str) -> None:
        """Note that the item changed, or that it is gone; too many that are gone are noted as a change of all."""
        if self._full:
            return
        here, there = (self._changed, self._removed) if item in self else (self._removed, self._changed)
        here[item] = None
        there.pop(item, None)
        if len(self._removed) > self._capacity:
            self.change_all()

    def _reset(self) -> None:
        self._known_lists.clear()
        self._popular, self._recent = Leaders(), Leaders()
