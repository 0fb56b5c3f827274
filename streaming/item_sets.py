"""Which items belong together by a feature of theirs, such as the recipes that an ingredient is in."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable
from dataclasses import dataclass

import msgspec

from streaming.encode.entity_state import Changes
from streaming.events.schema import Features
from streaming.join.labeled_impression import LabeledImpression

Members = list[tuple[str, int]]
"""Items of a set, each with the number of sets that it is in."""
_SPARE = 10_000
"""Names of sets that are gone, beyond twice as many as there are, before a change of all takes their place."""


def set_names(features: Features, feature: str) -> list[str]:
    """The sets that an item with these features is in: the value of `feature`, or each of a list, as text.

    >>> set_names({"recipes": ["paella", 7]}, "recipes"), set_names({"recipes": "paella"}, "recipes")
    (['paella', '7'], ['paella'])
    >>> set_names({}, "recipes"), set_names({"recipes": [""]}, "recipes")
    ([], [])
    """
    value = features.get(feature)
    values = value if isinstance(value, list) else [value]
    found = (str(one) for one in values if isinstance(one, str | int) and not isinstance(one, bool))
    return [name for name in dict.fromkeys(found) if name]


@dataclass(frozen=True, slots=True)
class SetChanges:
    """Sets that changed, as JSON of their `Members` by name, and those that have no member any more."""

    records: dict[str, bytes]
    removed: list[str]
    full: bool
    """Whether these are all sets there are, so that others must be removed."""


class ItemSets:
    """Sets of items by their latest features, kept up to date with what changes.

    It has the items that `update` was told of, as many as features are kept of. Records have only items that are in
    `available`, at most `members` of a set: those that are in the fewest sets, equal ones by name.

    >>> sets = ItemSets("recipes", {"rice", "saffron"}, members=10)
    >>> sets.update(Changes({"rice": {"recipes": ["paella", "risotto"]}, "saffron": {"recipes": ["paella"]}}))
    >>> sets.members("paella")
    [('saffron', 1), ('rice', 2)]
    """

    def __init__(self, feature: str, available: Container[str], members: int) -> None:
        self._feature, self._available, self._most = feature, available, members
        self._sets: dict[str, tuple[str, ...]] = {}
        """By item."""
        self._members: dict[str, dict[str, None]] = {}
        self._changed: dict[str, None] = {}
        self._full = True

    def __len__(self) -> int:
        """The number of sets."""
        return len(self._members)

    def update(self, items: Changes) -> None:
        """Take the latest features of items, and forget those that are evicted."""
        gone = [item for item in self._sets if item not in items.latest] if items.full else items.removed
        for item in gone:
            self._put(item, ())
        for item, features in items.latest.items():
            self._put(item, tuple(set_names(features, self._feature)))

    def observe(self, impressions: Iterable[LabeledImpression]) -> None:
        """Nothing, and nothing in the next two: clicks change no set, and names of users are unknown."""

    def seen(self, items: Iterable[str], time: int) -> None: ...

    def forget(self, user: str) -> int:  # noqa: ARG002 - as an observer
        return 0

    def available(self, item: str, time: int, *, is_so: bool) -> None:  # noqa: ARG002 - `available` items are asked
        """The item was withdrawn, or came back: it leaves or enters the records of its sets."""
        self._mark(self._sets.get(item, ()))

    def members(self, name: str) -> Members:
        """Available items of a set, those first that tell it best."""
        found = ((item, len(self._sets[item])) for item in self._members.get(name, ()) if item in self._available)
        return heapq.nsmallest(self._most, found, key=lambda member: (member[1], member[0]))

    def drain_changes(self) -> SetChanges:
        """What changed since the last drain; everything at first, and after `change_all`."""
        names = self._members if self._full else self._changed
        members = {name: found for name in names if (found := self.members(name))}
        records = {name: msgspec.json.encode(found) for name, found in members.items()}
        changes = SetChanges(records, [name for name in names if name not in records], self._full)
        self._changed, self._full = {}, False
        return changes

    def change_all(self) -> None:
        """Mark all as changed, because it is unknown what a reader has."""
        self._changed, self._full = {}, True

    def restore_changes(self, changes: SetChanges) -> None:
        """Count these as changed again."""
        if changes.full:
            self.change_all()
        else:
            self._mark((*changes.records, *changes.removed))

    def _put(self, item: str, names: tuple[str, ...]) -> None:
        """The item is in these sets; in all of them it counts with their number."""
        before = self._sets.pop(item, ())
        if names:
            self._sets[item] = names
        if names == before:
            return
        self._mark((*before, *names))
        for name in names:
            self._members.setdefault(name, {})[item] = None
        for name in set(before).difference(names):
            del self._members[name][item]
            if not self._members[name]:
                del self._members[name]

    def _mark(self, names: Iterable[str]) -> None:
        """Note that these changed; too many, while nobody drains them, are noted as a change of all."""
        if not self._full:
            self._changed |= dict.fromkeys(names)
            if len(self._changed) > 2 * len(self._members) + _SPARE:
                self.change_all()
