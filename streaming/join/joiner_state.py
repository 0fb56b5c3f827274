"""A joiner's state as plain data: impressions and interactions as they are, not the tables made from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from streaming.join.click_delays import draws
from streaming.join.columns_to_rows import InteractionRow
from streaming.join.labeled_impression import LabelRule
from streaming.join.open_impression import OpenImpression
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.tables.kept import Kept
from streaming.join.tables.kernels import CLOSED, DECIDED, HELD, LAST, OPEN, chain_again
from streaming.join.tables.layout import Tables

Due = tuple[int, int]
"""Clock, and the number of the impression's event."""


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


def pack(t: Tables, kept: Kept, delays: bytes) -> bytes:
    """All that the future of a joiner depends on, but not the settings."""
    now, counts = t.now[0], t.counts.tolist()
    for shown in kept.opened.values():
        shown.places = None
    state = JoinerState(
        int(now["clock"]),
        int(now["sequence"]),
        dict(zip(OUTCOMES, counts, strict=False)),
        dict(zip(TALLIES, counts[len(OUTCOMES) :], strict=True)),
        sorted(kept.opened.values(), key=lambda shown: (shown.time, shown.number)),
        (delays, int(now["version"]), _due(t)),
        _held(t, kept),
        _closed(t, kept),
    )
    return msgspec.msgpack.encode(state)


def _due(t: Tables) -> list[Due]:
    due = t.due[: t.now[0]["due"]]
    shown = t.opened[due[:, 2]]
    due = due[shown["open"] & (shown["number"] == due[:, 1]) & ~shown["silent"]]
    return sorted(zip(due[:, 0].tolist(), due[:, 1].tolist(), strict=True))


def _held(t: Tables, kept: Kept) -> list[tuple[int, InteractionRow]]:
    places = np.flatnonzero(t.acted["state"] == HELD)
    numbers = t.acted["number"][places].tolist()
    return sorted(
        ((number, kept.places.objects[place]) for number, place in zip(numbers, places.tolist(), strict=True)),
        key=_first,
    )


def _first(pair: tuple[int, InteractionRow]) -> int:
    return pair[0]


def _closed(t: Tables, kept: Kept) -> list[tuple[str, int]]:
    now = t.now[0]
    ring = np.roll(t.closed, -int(now["closed_first"]), axis=0)[: now["closed"]].tolist()
    return [(kept.keys.ids[key], until) for key, until in ring]


def keep(t: Tables, kept: Kept, state: JoinerState) -> None:
    """Number what the state has, and say how much it is, so that there is room: slots in the order of `waiting`,
    places in that of `held`, and after them what decided labels.
    """
    kept.opened.update((shown.id, shown) for shown in state.waiting)
    kept.slots.add(state.waiting)
    kept.places.add([acted for _, acted in state.held])
    kept.places.add([InteractionRow(0, shown.id, "", action, 0.0) for shown, _, action in _decided(state)])
    for id_ in (*kept.opened, *(acted.impression for _, acted in state.held), *(id_ for id_, _ in state.closed)):
        kept.keys[id_]
    now = t.now[0]
    now["clock"], now["sequence"], now["version"] = state.clock, state.sequence, state.silences[1]
    now["waiting"], now["due"], now["closed"] = len(state.waiting), len(state.silences[2]), len(state.closed)
    now["held"] = now["held_entries"] = len(state.held)


def fill(t: Tables, kept: Kept, state: JoinerState, codes: Mapping[str, int], rule: LabelRule) -> None:
    """Fill tables that have room. Raises KeyError when silence is due of an impression that does not wait."""
    t.counts[:] = [state.counts.get(name, 0) for name in OUTCOMES] + [state.tallies.get(name, 0) for name in TALLIES]
    _fill_opened(t, kept, state)
    _fill_held(t, kept, state, codes, rule)
    _fill_decided(t, state, codes)
    closed_keys = [kept.keys[id_] for id_, _ in state.closed]
    t.keys["state"][closed_keys] = CLOSED
    t.closed[: len(closed_keys), 0] = closed_keys
    t.closed[: len(closed_keys), 1] = [min(until, LAST) for _, until in state.closed]
    keys_H = np.array([kept.keys[acted.impression] for _, acted in state.held], np.int64)
    slot_of = {id(shown): slot for slot, shown in enumerate(state.waiting)}
    chain_again(t, keys_H, np.array([slot_of[id(shown)] for shown, _, _ in _decided(state)], np.int64))


def _fill_opened(t: Tables, kept: Kept, state: JoinerState) -> None:
    waiting, opened, count = state.waiting, t.opened, len(state.waiting)
    keys = [kept.keys[shown.id] for shown in waiting]
    t.keys["state"][keys], t.keys["slot"][keys] = OPEN, np.arange(count)
    opened["key"][:count], opened["open"][:count] = keys, True
    opened["first"][:count] = opened["last"][:count] = -1
    opened["items"][:count] = [len(shown.items) for shown in waiting]
    opened["draw"][:count] = draws((shown.id for shown in waiting), count)
    for name in ("time", "number", "clock", "silent"):
        opened[name][:count] = [getattr(shown, name) for shown in waiting]
    slots = {shown.number: slot for slot, shown in enumerate(waiting)}
    _fill_queue(t.waiting, [(shown.time, shown.number, slot) for slot, shown in enumerate(waiting)])
    _fill_queue(t.due, [(min(due, LAST), number, slots[number]) for due, number in state.silences[2]])


def _fill_held(t: Tables, kept: Kept, state: JoinerState, codes: Mapping[str, int], rule: LabelRule) -> None:
    acted, count = t.acted, len(state.held)
    acted["state"][:count] = HELD
    acted["number"][:count] = [number for number, _ in state.held]
    acted["time"][:count] = [held.time for _, held in state.held]
    acted["key"][:count] = [kept.keys[held.impression] for _, held in state.held]
    acted["action"][:count] = [codes.get(held.action, -1) for _, held in state.held]
    acted["positive"][:count] = [rule.label(held.value) > 0 for _, held in state.held]
    _fill_queue(t.held, [(held.time, number, place) for place, (number, held) in enumerate(state.held)])


def _fill_decided(t: Tables, state: JoinerState, codes: Mapping[str, int]) -> None:
    decided = list(_decided(state))
    part = t.acted[len(state.held) : len(state.held) + len(decided)]
    part["state"] = DECIDED
    part["position"] = [position for _, position, _ in decided]
    part["action"] = [codes.get(action, -1) for _, _, action in decided]
    part["bin"] = [(shown.clicks or {}).get(position, -1) for shown, position, _ in decided]


def _decided(state: JoinerState) -> Iterator[tuple[OpenImpression, int, str]]:
    """Positions that have a label, and the action that decided it."""
    for shown in state.waiting:
        for position, action in (shown.decided or {}).items():
            yield shown, position, action


def _fill_queue(queue: npt.NDArray[np.int64], entries: list[tuple[int, int, int]]) -> None:
    """Sorted entries are a heap."""
    queue[: len(entries)] = np.array(sorted(entries), np.int64).reshape(-1, 3)
