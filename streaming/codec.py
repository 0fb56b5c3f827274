"""JSON lines to Arrow and back: the edge at which an event becomes valid.

What is refused, and with which reason, is the contract in `docs/events.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from streaming.events import EVENT_SCHEMA, Event, Features, Impression, Interaction, ItemUpdate, UserUpdate
from streaming.explain import explain
from streaming.features import FeatureSpec, Kind

HOUR: Final = 3_600_000
CLASSES: Final[tuple[type[Event], ...]] = (Impression, Interaction, UserUpdate, ItemUpdate)
"""The type of an event, by its code in the `kind` column."""

_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode
_canonical = msgspec.json.Encoder(order="deterministic").encode
_features = msgspec.json.Decoder(Features).decode
_item_features = msgspec.json.Decoder(dict[str, list[Any]]).decode


@dataclass(frozen=True, slots=True)
class Rules:
    """What is accepted beyond the types.

    `request` and `item` name the features that impressions, user updates and item updates may carry, with the kind
    (None: any kind). Other names are refused, or with `keep_unknown` accepted; without `request` and `item` every name
    and kind is. Bounds are in milliseconds and bytes.
    """

    max_future: int = 24 * HOUR
    max_line: int = 1 << 20
    request: Mapping[str, Kind | None] | None = None
    item: Mapping[str, Kind | None] | None = None
    keep_unknown: bool = False

    @staticmethod
    def of(
        spec: FeatureSpec, max_future: int = 24 * HOUR, max_line: int = 1 << 20, *, keep_unknown: bool = False
    ) -> Rules:
        """Accept features that the model reads only in their kind, and others only with `keep_unknown`."""
        known: dict[str, dict[str, Kind | None]] = {"request": {}, "item": {}}
        for entry in spec.fields:
            owner, _, name = entry.source.partition(".")
            if owner in known and name:
                known[owner][name] = entry.kind
        return Rules(max_future, max_line, known["request"], known["item"], keep_unknown)


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that is not an event: its index in the call, why, and what it was."""

    line: int
    reason: str
    raw: bytes = field(repr=False)


def decode_lines(
    data: bytes | Sequence[bytes], now: int, rules: Rules | None = None
) -> tuple[pa.RecordBatch, list[Reject]]:
    """Events (EVENT_SCHEMA) in the order of their lines, and the lines that are none.

    `now` is the clock (ms since the epoch) that `rules.max_future` counts from. Blank lines are neither.

    >>> batch, rejects = decode_lines(b'{"type":"user","time":5,"user":"u","features":{}}\\n{"type":"user"}', now=9)
    >>> batch.num_rows, rejects[0].reason
    (1, 'Object missing required field `time`')
    """
    rules = rules or Rules()
    horizon = now + rules.max_future
    checks = {kind: _check(kind, rules) for kind in CLASSES}
    events: list[Event] = []
    rejects: list[Reject] = []
    for i, line in enumerate(data.split(b"\n") if isinstance(data, bytes) else data):
        try:
            if len(line) > rules.max_line:
                raise ValueError(f"longer than {rules.max_line} bytes")
            event: Event = _decode(line)
            if event.time > horizon:
                raise ValueError(f"time: {event.time} is more than {rules.max_future} ms after the clock, {now}")
            if (check := checks[type(event)]) is not None:
                check(event)
            events.append(event)
        except (ValueError, RecursionError) as error:
            if line.strip():
                rejects.append(Reject(i, explain(line[: rules.max_line + 1], error), line))
    return encode_events(events), rejects


def encode_event(event: Event) -> pa.RecordBatch:
    """One event as a batch of one row."""
    return encode_events([event])


def encode_events(events: Sequence[Event]) -> pa.RecordBatch:
    """Valid events as a batch, in order. An empty id becomes the hash of the content."""
    kinds_B = np.fromiter(map(_CODES.__getitem__, map(type, events)), np.uint8, len(events))
    rows = {code: np.flatnonzero(kinds_B == code) for code in np.unique(kinds_B).tolist()}
    parts = {code: _columns(CLASSES[code], [events[i] for i in at.tolist()]) for code, at in rows.items()}
    columns = [pa.array(kinds_B)]
    for column in list(EVENT_SCHEMA)[1:]:
        pieces = {code: part[column.name] for code, part in parts.items() if column.name in part}
        columns.append(_in_order(pieces, rows, len(events)) if pieces else pa.nulls(len(events), column.type))
    return pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)


def _in_order(pieces: dict[int, pa.Array], rows: dict[int, npt.NDArray[np.intp]], count: int) -> pa.Array:
    """One column from those of the kinds that have it: row rows[code][i] is pieces[code][i], all others are null."""
    if len(pieces) == 1 and all(len(piece) == count for piece in pieces.values()):
        return next(iter(pieces.values()))
    source = np.full(count, -1)
    at = np.concatenate([rows[code] for code in pieces])
    source[at] = np.arange(len(at))
    return pa.concat_arrays(list(pieces.values())).take(pa.array(source, mask=source < 0))


def to_events(batch: pa.RecordBatch) -> list[Event]:
    """The events of a batch (EVENT_SCHEMA)."""
    return [_event(row) for row in batch.to_pylist()]


def _event(row: dict[str, Any]) -> Event:
    kind = CLASSES[row["kind"]]
    fields = {name: row[name] for name in kind.__struct_fields__ if row[name] is not None}
    if "features" in fields:
        fields["features"] = _features(fields["features"])
    if "item_features" in fields:
        fields["item_features"] = _item_features(fields["item_features"])
    event: Event = kind(**fields)
    return event


def content_id(event: Event) -> str:
    """The id of an event that has none: equal content, equal id, whatever the order of its JSON fields."""
    return xxh3_128_hexdigest(_canonical(event))


_CODES: Final = {kind: code for code, kind in enumerate(CLASSES)}


def _columns(kind: type[Event], events: Sequence[Event]) -> dict[str, pa.Array]:
    """The columns that this kind has."""
    columns = {}
    for name in kind.__struct_fields__:
        type_, values = EVENT_SCHEMA.field(name).type, list(map(attrgetter(name), events))
        if name == "id" and "" in values:
            values = [event.id or content_id(event) for event in events]
        if pa.types.is_binary(type_):
            values = [_encode(value) if value else b"{}" for value in values]
        columns[name] = _lists(values, type_) if pa.types.is_list(type_) else pa.array(values, type_)
    return columns


def _lists(lists: Sequence[Sequence[Any]], type_: pa.ListType) -> pa.ListArray:
    # Flat values and offsets: twice as fast as handing Arrow the nested lists.
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, lists), np.int32, len(lists)), out=offsets[1:])
    values = pa.array(list(chain.from_iterable(lists)), type_.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=type_)


def _check(kind: type[Event], rules: Rules) -> Callable[[Any], None] | None:
    """What the types cannot say about an event of this kind; the function raises ValueError."""
    if kind is Impression:
        return lambda event: check_impression(event, rules)
    known = {UserUpdate: rules.request, ItemUpdate: rules.item}.get(kind)
    if known is None:
        return None
    return lambda event: _check_features("features", event.features.items(), known, rules.keep_unknown)


def check_impression(event: Impression, rules: Rules) -> None:
    items, count = event.items, len(event.items)
    if len(set(items)) != count:
        twice = next(item for i, item in enumerate(items) if item in items[:i])
        raise ValueError(f"items: {twice!r} is there twice, so an interaction could not say which one it means")
    if event.scores and len(event.scores) != count:
        raise ValueError(f"scores: {len(event.scores)} values for {count} items")
    if event.propensities and len(event.propensities) != count:
        raise ValueError(f"propensities: {len(event.propensities)} values for {count} items")
    if event.propensities and not 0 < min(event.propensities) <= max(event.propensities) <= 1:
        raise ValueError("propensities: a probability of being shown is above 0 and at most 1")
    for name, column in event.item_features.items():
        if len(column) != count:
            raise ValueError(f"item_features.{name}: {len(column)} values for {count} items")
    if rules.request is not None:
        _check_features("features", event.features.items(), rules.request, rules.keep_unknown)
    if rules.item is not None:
        pairs = ((name, value) for name, column in event.item_features.items() for value in column)
        _check_features("item_features", pairs, rules.item, rules.keep_unknown)


_KINDS: Final[dict[Kind, tuple[type, ...]]] = {
    "categorical": (str, int, bool, type(None)),
    "multi": (list, type(None)),
    "numeric": (int, float, type(None)),
}


def _check_features(
    where: str, pairs: Iterable[tuple[str, Any]], known: Mapping[str, Kind | None], keep_unknown: bool
) -> None:
    for name, value in pairs:
        if name not in known:
            if keep_unknown:
                continue
            raise ValueError(f"{where}.{name}: unknown feature; known are {', '.join(sorted(known)) or 'none'}")
        kind = known[name]
        if kind is not None and type(value) not in _KINDS[kind]:
            raise ValueError(f"{where}.{name}: {value!r:.80} is not {kind}")
