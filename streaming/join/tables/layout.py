"""The tables that the kernels join over, and their growth.

Shape suffixes: B bins of the delay of clicks, E edges of bins (B + 1), X entries of a priority queue.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.tables.event_columns import EventColumns
from streaming.join.tables.kept_texts import IMPRESSION, place_again

Table = npt.NDArray[Any]
Zeros = Callable[[int, np.dtype[Any]], Table]
"""So many zeros of a type: the memory of what waits."""
MOMENTARY = frozenset({"outputs", "positions", "labels", "decisions", "marks"})
"""Tables that are empty from one piece of the log to the next."""


def _row(**types: str) -> np.dtype[Any]:
    """A type of rows, from the names of the columns of each type."""
    return np.dtype([(name, type_) for type_, names in types.items() for name in names.split()])


_NOW = _row(
    i8="wait lateness memory max_pending paced clock sequence version"
    " waiting due held held_entries closed closed_first outputs decisions positions loose shown_items"
    " slots ended places released keys free_keys text_end number_end acted_end key_end"
)
_TALLY = _row(f8="closed", i8="memory lists first until_estimate estimate_at version")
_OPENED = _row(
    i8="time number clock key first last text number_start",
    i4="items decided draw text_size number_size",
    b1="silent open",
)
_ACTED = _row(
    i8="time number key slot before after text",
    u8="hash",
    f8="value",
    i4="position action bin text_size",
    i1="state",
    b1="positive",
)
_KEY = _row(i8="slot first last text", u8="hash", i4="text_size", i1="state")
_OUTPUT = _row(i8="slot known sequence since until", b1="learned")


class DelayCounts(NamedTuple):
    """What `ClickDelays` counts, and the ages that it gives."""

    tally: Table
    """One row: items of closed lists, number of lists, the first of them that is open, lists until an estimate, and the
    clock after which one is due whatever is shown."""
    clicks_B: npt.NDArray[np.float64]
    """Of closed lists."""
    open_clicks_B: npt.NDArray[np.int64]
    edges_E: npt.NDArray[np.float64]
    ages: npt.NDArray[np.int64]
    """By draw."""
    clocks: npt.NDArray[np.int64]
    """Clock of each list."""
    totals: npt.NDArray[np.int64]
    """Items shown before each list, and after the last."""


class Tables(NamedTuple):
    """The joiner's numbers. An impression is known by its slot in `opened`, an interaction by its place in `acted`, the
    id of an impression by its key. Interactions of one impression, or held for one key, are linked from `first` to
    `last` by `before` and `after`; -1 ends a chain.
    """

    now: Table
    """One row: settings, clock, sizes of the other tables."""
    counts: npt.NDArray[np.int64]
    """By the order of `OUTCOMES` and `TALLIES`."""
    opened: Table
    acted: Table
    keys: Table
    waiting: npt.NDArray[np.int64]
    """Priority queue [X, 3] of open impressions by time: time, number of the event, slot."""
    due: npt.NDArray[np.int64]
    """Priority queue [X, 3] of impressions by when silence is learned; some that closed early may remain."""
    held: npt.NDArray[np.int64]
    """Priority queue [X, 3] of held interactions by time; some that were taken may remain."""
    closed: npt.NDArray[np.int64]
    """Ring [X, 2] of closed impressions, oldest first: key, and the time until which it is remembered."""
    outputs: Table
    """Labels in the order in which they became known; `since` and `until` number entries of `positions`."""
    positions: npt.NDArray[np.int32]
    labels: npt.NDArray[np.uint8]
    """Of the positions: 1 for a positive one."""
    decisions: npt.NDArray[np.int64]
    """Places of the interactions that decided a label, in that order."""
    marks: npt.NDArray[np.uint8]
    """All 0: of the positions of one impression, for a moment."""
    ended: npt.NDArray[np.int64]
    """Slots that are free again."""
    released: npt.NDArray[np.int64]
    """Places that are free again."""
    loose: npt.NDArray[np.int64]
    """Keys that may stand for nothing any more."""
    free_keys: npt.NDArray[np.int64]
    key_places: npt.NDArray[np.int64]
    """Keys by the hash of their id (see `kept_texts`)."""
    key_texts: npt.NDArray[np.uint8]
    """Ids by key."""
    texts: npt.NDArray[np.uint8]
    """Of open impressions: the bytes of their records (see `kept_texts`)."""
    numbers: npt.NDArray[np.int64]
    """Of open impressions: the numbers of their records."""
    acted_texts: npt.NDArray[np.uint8]
    """The items of held interactions."""
    delays: DelayCounts


def new_tables(delays: DelayCounts, **settings: int) -> Tables:
    """Empty tables; `settings` are `wait`, `lateness`, `memory`, `max_pending` and `paced`."""
    now = np.zeros(1, _NOW)
    for name, value in settings.items():
        now[name] = value
    rows = {"opened": _OPENED, "acted": _ACTED, "keys": _KEY, "outputs": _OUTPUT, "positions": "i4"}
    bytes_ = dict.fromkeys(("labels", "marks", "key_texts", "texts", "acted_texts"), "u1")
    lists = dict.fromkeys(("decisions", "ended", "released", "loose", "free_keys", "numbers"), "i8")
    empty: dict[str, Any] = {name: np.zeros(0, type_) for name, type_ in (rows | bytes_ | lists).items()}
    empty |= {name: np.zeros((0, 3), np.int64) for name in ("waiting", "due", "held")}
    return Tables(
        now=now,
        counts=np.zeros(len(OUTCOMES) + len(TALLIES), np.int64),
        closed=np.zeros((1, 2), np.int64),
        key_places=np.zeros(2, np.int64),
        delays=delays,
        **empty,
    )


def with_room(t: Tables, e: EventColumns | None = None, ids: int = 0, zeros: Zeros = np.zeros) -> Tables:
    """The tables, with room for these events more, and for so many ids more; not yet for their texts.

    What waits lies in arrays that `zeros` makes.
    """
    now = t.now[0]
    events = shown = longest = items = 0
    if e is not None:
        events, shown, items = len(e.kinds_N), int(np.count_nonzero(e.kinds_N == IMPRESSION)), e.shown
        longest = int(np.diff(e.item_offsets).max())
    waiting, held, closed = int(now["waiting"]) + shown, int(now["held"]) + events, int(now["closed"]) + ids
    slots = int(now["slots"]) + max(shown - int(now["ended"]), 0)
    places = int(now["places"]) + max(events - shown - int(now["released"]), 0)
    keys = int(now["keys"]) + max(events + ids - int(now["free_keys"]), 0)
    positions = int(now["shown_items"]) + items + held
    sizes = {
        "opened": slots,
        "acted": places,
        "keys": keys,
        "waiting": waiting,
        "due": int(now["due"]) + waiting,
        "held": int(now["held_entries"]) + events,
        "outputs": waiting + 2 * events,
        "positions": positions,
        "labels": positions,
        "decisions": held,
        "marks": longest,
        "ended": slots,
        "released": places,
        "loose": closed + waiting + held + events,
        "free_keys": keys,
    }
    grown: dict[str, Any] = {
        name: _larger(getattr(t, name), size) if name in MOMENTARY else _grown(getattr(t, name), size, zeros)
        for name, size in sizes.items()
        if len(getattr(t, name)) < size
    }
    if len(t.key_places) < 2 * keys:
        grown["key_places"] = zeros(1 << (4 * keys).bit_length(), np.dtype(np.int64))
    if len(t.closed) < closed + waiting:
        grown["closed"] = _grown(np.roll(t.closed, -int(now["closed_first"]), axis=0), closed + waiting, zeros)
        now["closed_first"] = 0
    t = t._replace(**grown) if grown else t
    if "key_places" in grown:
        place_again(t)
    return t


def new_delay_counts(edges_E: npt.NDArray[np.float64], draws: int, memory: int) -> DelayCounts:
    """Nothing counted yet, every age 0; counts are halved after `memory` closed items."""
    tally = np.zeros(1, _TALLY)
    tally["memory"] = memory
    bins = len(edges_E) - 1
    ages, clocks, totals = np.zeros(draws, np.int64), np.zeros(0, np.int64), np.zeros(1, np.int64)
    return DelayCounts(tally, np.zeros(bins), np.zeros(bins, np.int64), edges_E, ages, clocks, totals)


def with_room_for_lists(d: DelayCounts, lists: int) -> DelayCounts:
    """With room for so many lists more; those that are closed make room first."""
    tally = d.tally[0]
    first, end = int(tally["first"]), int(tally["lists"])
    if end + lists <= len(d.clocks):
        return d
    d.clocks[: end - first], d.totals[: end - first + 1] = d.clocks[first:end].copy(), d.totals[first : end + 1].copy()
    tally["first"], tally["lists"] = 0, end - first
    if 2 * (end - first) + lists <= len(d.clocks):
        return d
    size = 2 * (end - first) + lists
    return d._replace(clocks=_grown(d.clocks, size), totals=_grown(d.totals, size + 1))


def _grown(table: Table, size: int, zeros: Zeros = np.zeros) -> Table:
    """A copy of the table with at least `size` rows; the new ones are zero."""
    larger = _larger(table, size, zeros)
    larger[: len(table)] = table
    return larger


def _larger(table: Table, size: int, zeros: Zeros = np.zeros) -> Table:
    """Zeros for at least `size` rows of the table."""
    columns = math.prod(table.shape[1:])
    rows = max(size, 2 * len(table))
    return zeros(rows * columns, table.dtype).reshape(rows, *table.shape[1:])
