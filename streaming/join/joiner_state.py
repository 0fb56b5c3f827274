"""A joiner's state as plain data: impressions and interactions as they are, not the tables made from them.

Shape suffixes: H held interactions, D decided labels, W open impressions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import IMPRESSION, INTERACTION, USER
from streaming.events.schema import EVENT_SCHEMA
from streaming.join.columns_to_rows import InteractionRow
from streaming.join.open_impression import OpenImpression
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.shown_records import Integers, ShownRecords, Spans
from streaming.join.tables.event_columns import EventColumns, Text, text_of
from streaming.join.tables.kept_texts import find_keys
from streaming.join.tables.kernels import CLOSED, DECIDED, HELD, LAST, OPEN, chain_again
from streaming.join.tables.layout import Table, Tables

Due = tuple[int, int]
"""Clock, and the number of the impression's event."""
_SHOWN = OpenImpression.__struct_fields__[:10]
"""What the log has of an impression."""
_encode = msgspec.json.Encoder().encode
_packer = msgspec.msgpack.Encoder()
_PIECE = 4096
"""Impressions of which objects exist at once."""


class JoinerState(msgspec.Struct):
    """`waiting` by time, `held` by number; `closed` has ids and when to forget them, oldest first. `silences` are the
    delays, the version of their estimate that silence is due by, and when it is due.
    """

    clock: int
    sequence: int
    counts: dict[str, int]
    tallies: dict[str, int]
    waiting: list[OpenImpression]
    silences: tuple[bytes, int, list[Due]]
    held: list[tuple[int, InteractionRow]]
    closed: list[tuple[str, int]]


def pack(t: Tables, actions: Sequence[str], delays: bytes) -> bytes:
    """All that the future of a joiner depends on, but not the settings. `actions` are their names by code."""
    now, counts = t.now[0], t.counts.tolist()
    state = JoinerState(
        int(now["clock"]),
        int(now["sequence"]),
        dict(zip(OUTCOMES, counts, strict=False)),
        dict(zip(TALLIES, counts[len(OUTCOMES) :], strict=True)),
        cast("list[OpenImpression]", _packed(t, actions)),
        (delays, int(now["version"]), _due(t)),
        _held(t, actions),
        _closed(t),
    )
    return msgspec.msgpack.encode(state)


def _packed(t: Tables, actions: Sequence[str]) -> msgspec.Raw:
    """The open impressions by time as a packed list: as objects they are some ten times as large."""
    slots_W = np.flatnonzero(t.opened["open"])
    slots_W = slots_W[np.lexsort((t.opened["number"][slots_W], t.opened["time"][slots_W]))]
    empty = _packer.encode([None] * len(slots_W))  # a byte each, behind the head that any list of as many has
    packed = bytearray(empty[: len(empty) - len(slots_W)])
    for start in range(0, len(slots_W), _PIECE):
        for shown in _waiting(t, actions, slots_W[start : start + _PIECE]):
            _packer.encode_into(shown, packed, -1)
    return msgspec.Raw(packed)


def _waiting(t: Tables, actions: Sequence[str], slots_W: Integers) -> list[OpenImpression]:
    waiting, rows = ShownRecords.of(t, slots_W).opened(), t.opened[slots_W]
    known = zip(waiting, *(rows[name].tolist() for name in ("number", "clock", "silent", "first")), strict=True)
    for shown, number, clock, silent, first in known:
        shown.number, shown.clock, shown.silent = number, clock, silent
        if first >= 0:
            chained = list(_chain(t.acted, first))
            shown.decided = {position: actions[code] for position, code, _ in chained}
            shown.clicks = {position: bin_ for position, _, bin_ in chained if bin_ >= 0} or None
    return waiting


def _chain(acted: Table, place: int) -> Iterator[tuple[int, int, int]]:
    """Position, action and bin of what decided labels, in that order."""
    while place >= 0:
        yield int(acted[place]["position"]), int(acted[place]["action"]), int(acted[place]["bin"])
        place = int(acted[place]["after"])


def _due(t: Tables) -> list[Due]:
    due = t.due[: t.now[0]["due"]]
    shown = t.opened[due[:, 2]]
    due = due[shown["open"] & (shown["number"] == due[:, 1]) & ~shown["silent"]]
    return sorted(zip(due[:, 0].tolist(), due[:, 1].tolist(), strict=True))


def _held(t: Tables, actions: Sequence[str]) -> list[tuple[int, InteractionRow]]:
    places_H = np.flatnonzero(t.acted["state"] == HELD)
    rows = t.acted[places_H[np.argsort(t.acted["number"][places_H])]]
    ids, items = _ids(t, rows["key"]), Spans(t.acted_texts, rows["text"], rows["text"] + rows["text_size"]).strings()
    columns = zip(*(rows[name].tolist() for name in ("number", "time", "action", "value")), ids, items, strict=True)
    return [
        (number, InteractionRow(time, id_, item, actions[code], value))
        for number, time, code, value, id_, item in columns
    ]


def _closed(t: Tables) -> list[tuple[str, int]]:
    now = t.now[0]
    ring = np.roll(t.closed, -int(now["closed_first"]), axis=0)[: now["closed"]]
    return list(zip(_ids(t, ring[:, 0]), ring[:, 1].tolist(), strict=True))


def _ids(t: Tables, keys: Integers) -> list[str]:
    rows = t.keys[keys]
    return Spans(t.key_texts, rows["text"], rows["text"] + rows["text_size"]).strings()


def actions(state: JoinerState) -> set[str]:
    """Names of the actions that decided labels, or are held."""
    decided = chain.from_iterable((shown.decided or {}).values() for shown in state.waiting)
    return {*decided, *(acted.action for _, acted in state.held)}


def columns(state: JoinerState) -> tuple[EventColumns, Text]:
    """Events from which tables can be filled, and ids: the open impressions, then held interactions, then one for each
    decided label. An update stands for none.
    """
    acted = [one for _, one in state.held]
    acted += [InteractionRow(0, one.id, "", action, 0.0) for one, _, action in _decided(state)]
    rows: dict[str, list[Any]] = {name: [getattr(one, name) for one in state.waiting] for name in _SHOWN}
    for name in ("features", "item_features"):  # older releases wrote them decoded, of impressions with a label
        rows[name] = [_encode(value) if isinstance(value, dict) else value for value in rows[name]]
    rows["kind"] = [IMPRESSION] * len(state.waiting) + [INTERACTION] * len(acted)
    rows["id"] += [""] * len(acted)
    rows["time"] += [one.time for one in acted]
    missing = [None] * len(state.waiting)
    rows |= {
        name: missing + [getattr(one, name) for one in acted] for name in ("impression", "item", "action", "value")
    }
    if not rows["kind"]:
        rows |= {"kind": [USER], "id": [""], "time": [0]}
    size = len(rows["kind"])
    arrays = [pa.array((rows.get(f.name, []) + [None] * size)[:size], f.type) for f in EVENT_SCHEMA]
    batch = pa.RecordBatch.from_arrays(arrays, schema=EVENT_SCHEMA)
    return EventColumns.of(batch), text_of([id_ for id_, _ in state.closed])


def fill(t: Tables, state: JoinerState, taken: tuple[Integers, Integers], ids: Text) -> None:
    """Fill tables that have room and have `taken` in the columns, with the ids of `closed`.

    Raises KeyError when silence is due of an impression that does not wait.
    """
    now, (keys_N, places_N) = t.now[0], taken
    waiting, known = len(state.waiting), len(state.waiting) + len(state.held)
    now["clock"], now["sequence"], now["version"] = state.clock, state.sequence, state.silences[1]
    now["waiting"], now["due"], now["closed"] = waiting, len(state.silences[2]), len(state.closed)
    now["held"] = now["held_entries"] = len(state.held)
    now["shown_items"] = sum(len(shown.items) for shown in state.waiting)
    t.counts[:] = [state.counts.get(name, 0) for name in OUTCOMES] + [state.tallies.get(name, 0) for name in TALLIES]
    keys_H, places_H, places_D = keys_N[waiting:known], places_N[waiting:known], places_N[known:]
    places_D = places_D[: sum(1 for _ in _decided(state))]  # without an update
    _fill_opened(t, state, keys_N[:waiting], places_N[:waiting])
    _fill_held(t, state, keys_H, places_H)
    _fill_decided(t, state, places_D)
    _fill_closed(t, state, ids)
    slot_of = {id(shown): slot for shown, slot in zip(state.waiting, places_N.tolist(), strict=False)}
    slots_D = np.array([slot_of[id(shown)] for shown, _, _ in _decided(state)], np.int64)
    chain_again(t, keys_H, places_H, slots_D, places_D)


def _fill_opened(t: Tables, state: JoinerState, keys_W: Integers, slots_W: Integers) -> None:
    waiting, opened, slots = state.waiting, t.opened, slots_W.tolist()
    t.keys["state"][keys_W], t.keys["slot"][keys_W] = OPEN, slots_W
    opened["key"][slots_W], opened["open"][slots_W] = keys_W, True
    opened["first"][slots_W] = opened["last"][slots_W] = -1
    for name in ("number", "clock", "silent"):
        opened[name][slots_W] = [getattr(shown, name) for shown in waiting]
    slot_of = {shown.number: slot for shown, slot in zip(waiting, slots, strict=True)}
    _fill_queue(t.waiting, [(shown.time, shown.number, slot) for shown, slot in zip(waiting, slots, strict=True)])
    _fill_queue(t.due, [(min(due, LAST), number, slot_of[number]) for due, number in state.silences[2]])


def _fill_held(t: Tables, state: JoinerState, keys_H: Integers, places_H: Integers) -> None:
    t.acted["state"][places_H], t.acted["key"][places_H] = HELD, keys_H
    t.acted["number"][places_H] = [number for number, _ in state.held]
    held = zip(state.held, places_H.tolist(), strict=True)
    _fill_queue(t.held, [(one.time, number, place) for (number, one), place in held])


def _fill_decided(t: Tables, state: JoinerState, places_D: Integers) -> None:
    decided = list(_decided(state))
    t.acted["state"][places_D] = DECIDED
    t.acted["position"][places_D] = [position for _, position, _ in decided]
    t.acted["bin"][places_D] = [(shown.clicks or {}).get(position, -1) for shown, position, _ in decided]


def _fill_closed(t: Tables, state: JoinerState, ids: Text) -> None:
    keys_K = np.empty(len(state.closed), np.int64)
    find_keys(t, ids, np.ones(len(keys_K), np.bool_), keys_K)
    t.keys["state"][keys_K] = CLOSED
    t.closed[: len(keys_K), 0] = keys_K
    t.closed[: len(keys_K), 1] = [min(until, LAST) for _, until in state.closed]


def _decided(state: JoinerState) -> Iterator[tuple[OpenImpression, int, str]]:
    """Positions that have a label, and the action that decided it."""
    for shown in state.waiting:
        for position, action in (shown.decided or {}).items():
            yield shown, position, action


def _fill_queue(queue: npt.NDArray[np.int64], entries: list[tuple[int, int, int]]) -> None:
    """Sorted entries are a heap."""
    queue[: len(entries)] = np.array(sorted(entries), np.int64).reshape(-1, 3)
