"""Which items the same users click within a window of time, and what each user clicked last."""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from recsys.errors import StateError
from streaming.decayed import grown
from streaming.join.labeled_impression import LabeledImpression

Clicks = list[tuple[int, str]]
"""Event times (ms) and items of clicks, oldest first; equal times by item."""


class _CoVisitState(msgspec.Struct):
    clicks: dict[str, Clicks]
    counts: dict[str, float]
    pairs: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class VisitChanges:
    """Records of users (items clicked last, the latest first) or items (neighbours and affinities), as JSON by name."""

    kind: Literal["user", "item"]
    records: dict[str, bytes]
    removed: list[str]
    full: bool
    """Whether these are all records there are, so that others must be removed."""


@dataclass(frozen=True, slots=True)
class CoVisitBounds:
    """Most items and users remembered, neighbours of an item, and latest clicks of a user."""

    items: int = 50_000
    users: int = 100_000
    neighbours: int = 50
    clicks: int = 20


class CoVisits:
    r"""Neighbours of items by co-visitation, with counts that halve every `half_life` ms of event time.

    affinity(a, b) = C(a, b) / sqrt(n(a) n(b)),  n(a) = sum_t 2^(t / h),  C(a, b) = sum_{t, s} 2^(max(t, s) / h)

    over clicks t of a, and over clicks t of a and s of b by the same user at most `window` ms apart. As both decay
    alike, the affinity does not change while nobody clicks, and of a click's time only its distance counts, so the
    order in which clicks arrive does not matter. The same user, item and time is one click. Where each user clicks an
    item once, the affinity is the cosine of item-based collaborative filtering (Sarwar et al., WWW 2001), counted over
    a stream; a user that clicks both items again and again counts for more, and it may exceed 1.

    Beyond the bounds are forgotten: of a user the oldest clicks, users that clicked longest ago (in the order of the
    stream), of an item the neighbours with the least affinity, in both directions, and the tenth of the items with the
    least count. Records have only items that are in `available`.

    >>> visits = CoVisits(["a", "b"], window=10, half_life=1000)
    >>> visits.click("ada", "a", 1); visits.click("ada", "b", 5)
    >>> [round(affinity, 2) for _, affinity in visits.neighbours("a")]
    [1.0]
    """

    def __init__(
        self, available: Container[str], window: int, half_life: int, bounds: CoVisitBounds = CoVisitBounds()
    ) -> None:
        self._available, self._window, self._half_life, self._bounds = available, window, half_life, bounds
        self._clicks: dict[str, Clicks] = {}
        """By user, in the order of the users' latest clicks."""
        self._counts: dict[str, float] = {}
        """log2 of n at time 0, by item."""
        self._pairs: dict[str, dict[str, float]] = {}
        """log2 of C at time 0; each pair stands in both items' neighbours."""
        self._changed: dict[Literal["user", "item"], dict[str, None]] = {"user": {}, "item": {}}
        self._full = True

    def __len__(self) -> int:
        """The number of items."""
        return len(self._counts)

    def observe(self, impressions: Iterable[LabeledImpression]) -> None:
        """Take the positive labels as clicks, at the time at which they became known."""
        for impression in impressions:
            for position, label in zip(impression.positions, impression.labels, strict=True):
                if label > 0:
                    self.click(impression.user, impression.items[position], impression.decided)

    def seen(self, items: Iterable[str], time: int) -> None:
        """Nothing: items count once they are clicked."""

    def available(self, item: str, time: int, *, is_so: bool) -> None:  # noqa: ARG002 - `available` items are asked
        """The item was withdrawn, or came back: it leaves or enters its neighbours' records."""
        self._mark("item", item, *self._pairs.get(item, ()))

    def click(self, user: str, item: str, time: int) -> None:
        """One click at event time `time`, ms."""
        clicks = self._clicks.pop(user, [])
        self._clicks[user] = clicks
        if (time, item) in clicks:
            return
        self._counts[item] = grown(self._counts.get(item, -math.inf), time, self._half_life)
        for at, other in clicks:
            if other != item and abs(time - at) <= self._window:
                self._pair(item, other, max(time, at))
        insort(clicks, (time, item))
        del clicks[: -self._bounds.clicks]
        self._mark("user", user)
        self._mark("item", item)
        self._keep_bounds()

    def forget(self, user: str) -> int:
        """Forget what a user clicked; returns how many clicks that were. Counts of items, which name nobody, stay."""
        clicks = self._clicks.pop(user, [])
        self._mark("user", user)
        return len(clicks)

    def recent(self, user: str) -> list[str]:
        """Items that the user clicked last, the latest first."""
        return list(dict.fromkeys(item for _, item in reversed(self._clicks.get(user, []))))

    def neighbours(self, item: str) -> list[tuple[str, float]]:
        """Available items with their affinity, greatest first; equal ones by name."""
        found = [
            (other, self._affinity(item, other)) for other in self._pairs.get(item, ()) if other in self._available
        ]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def drain_changes(self) -> list[VisitChanges]:
        """What changed since the last drain; everything at first, and after `change_all`."""
        users: Collection[str] = self._clicks if self._full else self._changed["user"]
        items: Collection[str] = self._counts if self._full else self._changed["item"]
        known = [item for item in items if item in self._counts and item in self._available]
        changes = [
            _changes("user", users, {user: self.recent(user) for user in users if user in self._clicks}, self._full),
            _changes("item", items, {item: self.neighbours(item) for item in known}, self._full),
        ]
        self._changed, self._full = {"user": {}, "item": {}}, False
        return changes

    def change_all(self) -> None:
        """Mark all as changed, because it is unknown what a reader has."""
        self._changed, self._full = {"user": {}, "item": {}}, True

    def restore_changes(self, changes: Iterable[VisitChanges]) -> None:
        """Count these as changed again."""
        for one in changes:
            if one.full:
                self.change_all()
            self._mark(one.kind, *one.records, *one.removed)

    def state(self) -> bytes:
        return msgspec.msgpack.encode(_CoVisitState(self._clicks, self._counts, self._pairs))

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not that of co-visits."""
        try:
            loaded = msgspec.msgpack.decode(state, type=_CoVisitState)
        except msgspec.DecodeError as error:
            raise StateError(f"not a state of co-visits: {error}") from error
        self._clicks, self._counts, self._pairs = loaded.clicks, loaded.counts, loaded.pairs
        self.change_all()

    def _affinity(self, one: str, other: str) -> float:
        return float(2.0 ** (self._pairs[one][other] - (self._counts[one] + self._counts[other]) / 2))

    def _pair(self, item: str, other: str, time: int) -> None:
        if other not in self._counts:  # forgotten, while a user's click of it is remembered
            return
        count = grown(self._pairs.get(item, {}).get(other, -math.inf), time, self._half_life)
        for one, two in ((item, other), (other, item)):
            self._pairs.setdefault(one, {})[two] = count
        self._mark("item", other)
        for one in (item, other):
            if len(self._pairs[one]) > self._bounds.neighbours:
                self._part(one, min(self._pairs[one], key=lambda two: (self._affinity(one, two), two)))

    def _part(self, item: str, other: str) -> None:
        for one, two in ((item, other), (other, item)):
            del self._pairs[one][two]
            self._mark("item", one)

    def _keep_bounds(self) -> None:
        if len(self._clicks) > self._bounds.users:
            user = next(iter(self._clicks))
            del self._clicks[user]
            self._mark("user", user)
        if len(self._counts) > self._bounds.items:
            many = self._bounds.items // 10 + 1
            for item in heapq.nsmallest(many, self._counts, key=lambda item: (self._counts[item], item)):
                for other in list(self._pairs.get(item, ())):
                    self._part(item, other)
                self._pairs.pop(item, None)
                del self._counts[item]
                self._mark("item", item)

    def _mark(self, kind: Literal["user", "item"], *names: str) -> None:
        """Note that these changed; too many, while nobody drains them, are noted as a change of all."""
        if not self._full:
            self._changed[kind] |= dict.fromkeys(names)
            most = self._bounds.users if kind == "user" else self._bounds.items
            if len(self._changed[kind]) > 2 * most:
                self.change_all()


def _changes(
    kind: Literal["user", "item"], names: Iterable[str], values: Mapping[str, object], full: bool
) -> VisitChanges:
    records = {name: msgspec.json.encode(value) for name, value in values.items()}
    return VisitChanges(kind, records, [name for name in names if name not in values], full)
