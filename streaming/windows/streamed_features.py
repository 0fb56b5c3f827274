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
from streaming.windows.counter_table import CounterTableState
from streaming.windows.history_table import HistoryTableState
from streaming.windows.part import CounterPart, HistoryPart, of_request, parts
from streaming.windows.record_changes import RecordChanges
from streaming.windows.shown_lists import ShownLists, ShownListsState
from streaming.windows.streamed_source import StreamedSource

Column = list[bytes | None]


class _State(msgspec.Struct):
    shown: ShownListsState
    counters: dict[str, CounterTableState]
    histories: HistoryTableState | None = None


class StreamedFeatures:
    """Computes `sources` from the events of a log, in the order in which a feed reads them.

    An impression gets the values as of its time, in `features` and `item_features` by the source's name: of the events
    before it in that order, those with an earlier time. Values that it has already, as one that a server has logged
    has, stay. Interactions count for the user and the items of the impression that they name, each action of an item
    once, and at most `wait` ms after it; others count for nobody. At most `capacity` users, items and pairs are
    counted, as many histories kept, and `max_shown` impressions are known.
    """

    def __init__(self, sources: Iterable[StreamedSource], capacity: int, wait: int, max_shown: int) -> None:
        if capacity < 1:
            raise InvalidValueError(f"capacity is {capacity}; it must be at least 1")
        distinct = sorted(set(sources))
        self._shown = ShownLists(wait, max_shown)
        self._parts = parts(distinct, capacity)

    @classmethod
    def none(cls) -> Self:
        """Without a source: events go through as they are."""
        return cls((), capacity=1, wait=0, max_shown=1)

    @property
    def counters(self) -> dict[str, int]:
        """Entities that are counted and histories, and those that were evicted, by kind."""
        return {name: size for part in self._parts for name, size in part.sizes.items()}

    @property
    def layouts(self) -> frozenset[str]:
        """Names of the layouts under which its records are published."""
        return frozenset(part.table.layout.key for part in self._parts)

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

    def forget(self, user: str) -> int:
        """Drop what is counted of a user, histories and shown lists; returns how much there was.

        Counters of items, which name nobody, stay.
        """
        return self._shown.forget(user) + sum(part.forget(user) for part in self._parts)

    def drain_changes(self) -> list[RecordChanges]:
        """What changed since the last drain, for each kind of record."""
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
        state = _State(self._shown.state(), {})
        for part in self._parts:
            if isinstance(part, CounterPart):
                state.counters[part.kind] = part.table.state()
            elif isinstance(part, HistoryPart):
                state.histories = part.table.state()
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        """Restore what `state` returned, of other sources as far as both count the same. Raises StateError."""
        if not state:
            return
        try:
            loaded = msgspec.msgpack.decode(state, type=_State)
            self._shown.restore(loaded.shown)
            for part in self._parts:
                if isinstance(part, CounterPart) and part.kind in loaded.counters:
                    part.table.restore(loaded.counters[part.kind])
                elif isinstance(part, HistoryPart) and loaded.histories is not None:
                    part.table.restore(loaded.histories)
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError(f"not the state of features that the stream computes: {error}") from error

    def _written(self, shown: OpenImpression) -> tuple[bytes | None, bytes | None]:
        """Features and item features of the impression, as JSON."""
        features, item_features = _bytes(shown.features), _bytes(shown.item_features)
        for part in self._parts:
            values = part.values(shown)
            if of_request(part.kind):
                features = _with(features, {name: column[0] for name, column in values.items()})
            else:
                item_features = _with(item_features, values)
        return features, item_features

    def _show(self, shown: OpenImpression) -> None:
        if not self._shown.add(shown):
            return
        for part in self._parts:
            part.show(shown)

    def _act(self, acted: InteractionRow) -> None:
        user = self._shown.met(acted)
        if user is None:
            return
        for part in self._parts:
            part.act(user, acted)


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
