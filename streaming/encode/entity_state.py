"""Features of users and items from their updates, by event time."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec

from recsys.errors import InvalidValueError, LogCorruptedError, StateError
from streaming.events.columns import USER
from streaming.events.schema import Features
from streaming.join.columns_to_rows import EntityUpdateRow
from streaming.join.label_columns import LabelColumns

_decoder = msgspec.json.Decoder(Features)


class _Version(msgspec.Struct, gc=False, array_like=True):
    """All features in force from `time` on, each with the time of the update that set it. Immutable."""

    time: int
    features: Features
    since: dict[str, int]


class _EntitiesState(msgspec.Struct):
    """`known`: least recently used first."""

    clock: int
    evicted: int
    known: list[tuple[str, list[_Version]]]


@dataclass(slots=True)
class Changes:
    """What changed among users, or among items, since the last drain."""

    latest: dict[str, Features] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    """Those that were evicted, and are not known any more."""
    full: bool = False
    """Whether `latest` has all known entities, so that a reader must remove others."""


class LatestFeatures:
    """Features of up to `capacity` users or items; the least recently used is evicted first.

    Versions are kept for `history` ms of event time, so that `at` answers for any time since then.
    """

    def __init__(self, capacity: int, history: int) -> None:
        self._capacity, self.history = capacity, history
        self._known: OrderedDict[str, list[_Version]] = OrderedDict()
        self._changed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._full = False
        self._clock = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._known)

    def update(self, key: str, time: int, features: Features) -> None:
        """Set `features` from `time` on, except for names with a newer value. At equal times the later call wins."""
        self._clock = max(self._clock, time)
        versions = self._known.setdefault(key, [])
        self._known.move_to_end(key)
        self._changed[key] = None
        self._removed.pop(key, None)
        _insert(versions, time, features)
        while len(versions) > 1 and versions[1].time <= self._clock - self.history:
            del versions[0]
        if len(self._known) > self._capacity:
            self._evict()

    def at(self, key: str, time: int) -> Features:
        """The features in force at `time`, empty when there were none. Do not change them."""
        versions = self._known.get(key)
        if versions is None:
            return {}
        self._known.move_to_end(key)
        if versions[-1].time <= time:
            return versions[-1].features
        place = bisect_right(versions, time, key=attrgetter("time"))
        return versions[place - 1].features if place else {}

    def latest(self, key: str) -> Features:
        """The features now in force, empty when there are none. It is no use of them. Do not change them."""
        versions = self._known.get(key)
        return {} if versions is None else versions[-1].features

    def forget(self, key: str) -> bool:
        """Know nothing of a user or item; whether anything was known."""
        known = self._known.pop(key, None) is not None
        if known:
            self._remove(key)
        return known

    def drain_changes(self) -> Changes:
        """What changed since the last drain, or all."""
        names, removed, full = self._changed, self._removed, self._full
        self._changed, self._removed, self._full = {}, {}, False
        return Changes({name: self._known[name][-1].features for name in names}, list(removed), full)

    def restore_changes(self, changes: Changes) -> None:
        """Count these as changed again."""
        if changes.full:
            self.change_all()
            return
        self._changed |= {key: None for key in changes.latest if key in self._known}
        self._removed |= {key: None for key in changes.removed if key not in self._known}
        self._removed |= {key: None for key in changes.latest if key not in self._known}

    def change_all(self) -> None:
        """Mark all as changed, because it is unknown what was published."""
        self._changed, self._removed, self._full = dict.fromkeys(self._known), {}, True

    def dump(self) -> _EntitiesState:
        return _EntitiesState(self._clock, self.evicted, list(self._known.items()))

    def load(self, state: _EntitiesState) -> None:
        """Replace the content by what `dump` returned. Everything counts as changed."""
        self._clock, self.evicted, self._known = state.clock, state.evicted, OrderedDict(state.known)
        self.change_all()

    def _evict(self) -> None:
        key, _ = self._known.popitem(last=False)
        self.evicted += 1
        self._remove(key)

    def _remove(self, key: str) -> None:
        """Note that it is not known any more."""
        self._changed.pop(key, None)
        if not self._full:
            self._removed[key] = None
        if len(self._removed) > self._capacity:  # nobody drains; do not keep more names than features
            self.change_all()


class EntityState:
    """Latest features of users and items, in event time, at most `capacity` of each.

    Versions are kept for `history` ms of event time. A `Feed` raises it to its joiner's wait and lateness together.

    >>> entities = EntityState(capacity=10, history=1000)
    >>> entities.items.update("i1", time=100, features={"price": 5})
    >>> entities.items.update("i1", time=200, features={"price": 7, "new": True})
    >>> entities.items.at("i1", time=150), entities.items.at("i1", time=200)
    ({'price': 5}, {'price': 7, 'new': True})
    """

    def __init__(self, capacity: int, history: int = 0) -> None:
        if capacity < 1:
            raise InvalidValueError(f"capacity is {capacity}; it must be at least 1")
        self.users = LatestFeatures(capacity, history)
        self.items = LatestFeatures(capacity, history)

    def keep_history(self, history: int) -> None:
        """Keep versions for at least `history` ms from now on."""
        for side in (self.users, self.items):
            side.history = max(side.history, history)

    @property
    def counters(self) -> dict[str, int]:
        users, items = self.users, self.items
        return {
            "users": len(users),
            "items": len(items),
            "evicted_users": users.evicted,
            "evicted_items": items.evicted,
        }

    def apply(self, update: EntityUpdateRow) -> None:
        """Apply an update. Raises LogCorruptedError when its features cannot be decoded."""
        side = self.users if update.kind == USER else self.items
        try:
            features = _decoder.decode(update.features or b"{}")
        except msgspec.DecodeError as error:
            raise LogCorruptedError(
                f"the update of {update.key!r} in the log has unreadable features: {error}"
            ) from error
        side.update(update.key, update.time, features)

    def resolve(self, labels: LabelColumns, number: int) -> None:
        """Look up, for this one of the labelled impressions, the features in force at its time."""
        time = int(labels.records.times_R[labels.record_I[number]])
        if len(self.users):
            labels.latest_users_I = labels.latest_users_I or [{}] * len(labels)
            labels.latest_users_I[number] = self.users.at(labels.users_I[number], time)
        if len(self.items):
            labels.latest_items_B = labels.latest_items_B or [{}] * len(labels.items_B)
            own = slice(*labels.bounds_I[number : number + 2])
            labels.latest_items_B[own] = [self.items.at(item, time) for item in labels.items_B[own]]

    def resolve_all(self, labels: LabelColumns) -> None:
        """As `resolve`, for each."""
        if len(self.users) or len(self.items):
            for number in range(len(labels)):
                self.resolve(labels, number)

    def drain_changes(self) -> tuple[Changes, Changes]:
        """What changed among users and among items since the last drain."""
        return self.users.drain_changes(), self.items.drain_changes()

    def change_all(self) -> None:
        """Count all as changed, so that the next drain returns all."""
        self.users.change_all()
        self.items.change_all()

    def restore_changes(self, users: Changes, items: Changes) -> None:
        """Count these as changed again: they were drained, but could not be published."""
        self.users.restore_changes(users)
        self.items.restore_changes(items)

    def state(self) -> bytes:
        return msgspec.msgpack.encode((self.users.dump(), self.items.dump()))

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not one of an `EntityState`."""
        try:
            users, items = msgspec.msgpack.decode(state, type=tuple[_EntitiesState, _EntitiesState])
        except msgspec.DecodeError as error:
            raise StateError(f"not the state of entities: {error}") from error
        self.users.load(users)
        self.items.load(items)


def _insert(versions: list[_Version], time: int, features: Features) -> None:
    """Insert a version at `time`, and carry its features into newer versions that have none of their own."""
    place = bisect_right(versions, time, key=attrgetter("time"))
    before = versions[place - 1] if place else _Version(time, {}, {})
    version = _merged(before, time, features, time)
    if place and before.time == time:
        versions[place - 1] = version
    else:
        versions.insert(place, version)
        place += 1
    for newer in range(place, len(versions)):
        since = versions[newer].since
        missing = {name: value for name, value in features.items() if since.get(name, -1) <= time}
        versions[newer] = _merged(versions[newer], versions[newer].time, missing, time)


def _merged(base: _Version, time: int, features: Features, since: int) -> _Version:
    return _Version(time, base.features | features, base.since | dict.fromkeys(features, since))
