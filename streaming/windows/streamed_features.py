"""What the stream computes of users and items, written into each impression as the features that it was made with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import msgspec
import pyarrow as pa

from recsys.errors import InvalidValueError, StateError
from streaming.events.columns import IMPRESSION as SHOWN
from streaming.events.columns import INTERACTION, kinds
from streaming.join.columns_to_rows import InteractionRow, impressions, interactions
from streaming.join.open_impression import OpenImpression
from streaming.windows.counter_table import CounterTable, CounterTableState, RecordChanges
from streaming.windows.layout import CounterLayout, as_values
from streaming.windows.shown_lists import ShownLists, ShownListsState
from streaming.windows.source import ENTITIES, IMPRESSION, Entity, StreamedSource

Column = list[bytes | None]


class _State(msgspec.Struct):
    shown: ShownListsState
    counters: dict[str, CounterTableState]


def pair(user: str, item: str) -> str:
    """The name of a user and an item together.

    >>> pair("u1", "i1"), pair("u", "1i1")
    ('2:u1i1', '1:u1i1')
    """
    return f"{len(user)}:{user}{item}"


def entity_names(entity: Entity, user: str, items: Sequence[str]) -> Sequence[str]:
    """The entities of this kind that a user and items are.

    >>> entity_names("user", "u1", ["i1", "i2"]), entity_names("item", "u1", ["i1", "i2"])
    (('u1',), ['i1', 'i2'])
    """
    match entity:
        case "user":
            return (user,)
        case "item":
            return items
    return [pair(user, item) for item in items]


class StreamedFeatures:
    """Computes `sources` from the events of a log, in the order in which a feed reads them.

    An impression gets the values as of its time, in `features` and `item_features` by the source's name: of the events
    before it in that order, those with an earlier time. Values that it has already, as one that a server has logged
    has, stay. Interactions count for the user and the items of the impression that they name, each action of an item
    once, and at most `wait` ms after it; others count for nobody. At most `capacity` users, items and pairs are
    counted, and `max_shown` impressions are known.
    """

    def __init__(self, sources: Iterable[StreamedSource], capacity: int, wait: int, max_shown: int) -> None:
        if capacity < 1:
            raise InvalidValueError(f"capacity is {capacity}; it must be at least 1")
        distinct = sorted(set(sources))
        self._shown = ShownLists(wait, max_shown)
        self._parts: list[_Part] = []
        for entity in ENTITIES:
            if own := [source for source in distinct if source.entity == entity]:
                self._parts.append(_Part(entity, own, capacity))

    @classmethod
    def none(cls) -> Self:
        """Without a source: events go through as they are."""
        return cls((), capacity=1, wait=0, max_shown=1)

    @property
    def counters(self) -> dict[str, int]:
        """Entities that are counted, and those that were evicted, by kind."""
        sizes = {f"counted_{part.entity}s": len(part.table) for part in self._parts}
        return sizes | {f"evicted_counters_of_{part.entity}s": part.table.evicted for part in self._parts}

    def take(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """Count these events; returns them with the features of their impressions."""
        if not self._parts:
            return events
        kinds_N = kinds(events)
        features: dict[int, tuple[bytes | None, bytes | None]] = {}
        shown, acted = impressions(events), interactions(events)
        for n, kind in enumerate(kinds_N.tolist()):
            if kind == SHOWN:
                one = next(shown)
                features[n] = self._written(one)
                self._show(one)
            elif kind == INTERACTION:
                self._act(next(acted))
        for place, name in enumerate(("features", "item_features")):
            column = events.column(name)
            values = column.to_pylist()
            for n, both in features.items():
                values[n] = both[place] if both[place] is not None else values[n]
            events = events.set_column(events.schema.get_field_index(name), events.schema.field(name), _binary(values))
        return events

    def drain_changes(self) -> list[RecordChanges]:
        """What changed since the last drain, for each kind of entity."""
        return [part.table.drain_changes() for part in self._parts]

    def restore_changes(self, changes: Sequence[RecordChanges]) -> None:
        """Count these as changed again: they were drained, but could not be published."""
        for part, one in zip(self._parts, changes, strict=True):
            part.table.restore_changes(one)

    def change_all(self) -> None:
        """Count all as changed, so that the next drain returns all."""
        for part in self._parts:
            part.table.change_all()

    def state(self) -> bytes:
        if not self._parts:
            return b""
        tables: dict[str, CounterTableState] = {part.entity: part.table.state() for part in self._parts}
        return msgspec.msgpack.encode(_State(self._shown.state(), tables))

    def restore(self, state: bytes) -> None:
        """Restore what `state` returned, of other sources as far as both count the same. Raises StateError."""
        if not state:
            return
        try:
            loaded = msgspec.msgpack.decode(state, type=_State)
            self._shown.restore(loaded.shown)
            for part in self._parts:
                if part.entity in loaded.counters:
                    part.table.restore(loaded.counters[part.entity])
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError(f"not the state of features that the stream computes: {error}") from error

    def _written(self, shown: OpenImpression) -> tuple[bytes | None, bytes | None]:
        """Features and item features of the impression, as JSON."""
        features, item_features = _bytes(shown.features), _bytes(shown.item_features)
        for part in self._parts:
            values = part.values(shown)
            if part.entity == "user":
                features = _with(features, {name: column[0] for name, column in values.items()})
            else:
                item_features = _with(item_features, values)
        return features, item_features

    def _show(self, shown: OpenImpression) -> None:
        if not self._shown.add(shown):
            return
        for part in self._parts:
            if IMPRESSION in part.table.codes:
                for name in part.names(shown.user, shown.items):
                    part.table.add(name, IMPRESSION, shown.time)

    def _act(self, acted: InteractionRow) -> None:
        user = self._shown.met(acted)
        if user is None:
            return
        for part in self._parts:
            for name in part.names(user, (acted.item,)):
                part.table.add(name, acted.action, acted.time)


class _Part:
    """The counters of one kind of entity, and the sources that read them."""

    def __init__(self, entity: Entity, sources: Sequence[StreamedSource], capacity: int) -> None:
        self.entity = entity
        layout = CounterLayout.of(entity, sources)
        self.table = CounterTable(layout, capacity)
        self._sources = [source.name for source in sources]
        self._fields_K3 = layout.fields_K3(sources)

    def names(self, user: str, items: Sequence[str]) -> Sequence[str]:
        """The entities of a user and these items."""
        return entity_names(self.entity, user, items)

    def values(self, shown: OpenImpression) -> dict[str, list[Any]]:
        """One value for each entity of the impression, by source, as of its time."""
        names = self.names(shown.user, shown.items)
        return as_values(self._sources, self.table.read(names, self._fields_K3, shown.time))


def _bytes(features: Any) -> bytes | None:
    return features if isinstance(features, bytes) else None


def _with(json: bytes | None, values: dict[str, Any]) -> bytes:
    """A JSON object with these members, except for those that it has already.

    >>> _with(b"{}", {"a": 1}), _with(b'{"a":1}', {"a": 2, "b": 3}), _with(b'{"\\\\u0061":1}', {"a": 2})
    (b'{"a":1}', b'{"a":1,"b":3}', b'{"\\\\u0061":1}')
    """
    if json is None or json == b"{}":
        return msgspec.json.encode(values)
    if b"\\" in json or any(name.encode() in json for name in values):  # a name may be written with escapes
        known = msgspec.json.decode(json)
        values = {name: value for name, value in values.items() if name not in known}
    return json[:-1] + b"," + msgspec.json.encode(values)[1:] if values else json


def _binary(values: Column) -> pa.Array:
    return pa.array(values, pa.binary())
