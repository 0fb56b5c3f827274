"""The join, event by event, over tables of numbers (see `layout`), compiled by Numba.

Ids of impressions are keys, actions are codes (see `kept_texts`). What becomes known is written to `outputs`, in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.tables.kept_texts import HEAD, IMPRESSION, INTERACTION, NEW

_uncounted: Any = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False}
"""Without the runtime that allocates arrays and counts references to them. The caller keeps all arrays, and to count
those of the tables at every call between kernels took four fifths of their time."""

jit: Any = njit(**_uncounted)

inlined: Any = njit(**_uncounted, inline="always")

LAST = 2**63 - 1
"""The last event time there is (ms)."""

OPEN, CLOSED = 2, 3
"""States of a key whose impression's window is open, or closed recently; others are in `kept_texts`."""

FREE, HELD, DECIDED = range(3)
"""States of an interaction: not kept, waiting for its impression, or the one that decided a label."""

_NAMES = (*OUTCOMES, *TALLIES)
_SHOWN, _SHOWN_AGAIN, _SHOWN_LATE = (
    _NAMES.index(n) for n in ("impressions", "duplicate_impressions", "late_impressions")
)
_JOINED, _DUPLICATE, _DUPLICATE_LABEL = (_NAMES.index(n) for n in ("joined", "duplicates", "duplicate_labels"))
_LATE, _UNMATCHED, _UNKNOWN, _IGNORED = (_NAMES.index(n) for n in ("late", "unmatched", "unknown_items", "ignored"))
_UPDATES, _ELSEWHERE = _NAMES.index("updates"), _NAMES.index("elsewhere")
_POSITIVES, _NEGATIVES, _CORRECTED = (_NAMES.index(n) for n in ("positives", "negatives", "corrected"))
_CLOSED, _CLOSED_EARLY, _FORGOTTEN = (_NAMES.index(n) for n in ("closed", "closed_early", "forgotten"))


@jit
def join(t: Any, kinds_N: Any, times_N: Any, keys_N: Any, places_N: Any, begin: int) -> int:
    """Take events from number `begin` on, whose keys are loose. Returns the number of one before which delays must be
    estimated, or N.
    """
    now = t.now[0]
    if now.paced:
        _await_again(t)
    for i in range(begin, len(kinds_N)):
        now.sequence += 1
        if times_N[i] > now.clock:
            _advance(t, times_N[i])
        if now.paced and now.clock > t.delays.tally[0].estimate_at:
            now.sequence -= 1
            return i
        if kinds_N[i] == INTERACTION:
            _act(t, keys_N[i], places_N[i])
        elif kinds_N[i] != IMPRESSION:
            t.counts[_UPDATES] += 1
        elif not _show(t, keys_N[i], places_N[i]):
            now.sequence -= 1
            return i
    return len(kinds_N)


@jit
def skip(t: Any, times_N: Any) -> None:
    """Take only the times of events."""
    now = t.now[0]
    for time in times_N:
        now.sequence += 1
        if time > now.clock:
            _advance(t, time)
    t.counts[_ELSEWHERE] += len(times_N)


@jit
def close_all(t: Any) -> None:
    """Close every window, and give up what is held."""
    now = t.now[0]
    while now.waiting:
        _close(t, False)
    while now.held_entries:
        t.counts[_UNMATCHED] += _drop_first(t)


@jit
def forget(t: Any, slots_F: Any) -> None:
    """End the windows of these open impressions [F] without a label. Their ids are as those never seen."""
    now = t.now[0]
    for slot in slots_F:
        t.opened[slot].open = False
        now.shown_items -= t.opened[slot].items
    size, now.waiting = now.waiting, 0
    for n in range(size):
        time, number, slot = t.waiting[n, 0], t.waiting[n, 1], t.waiting[n, 2]
        if t.opened[slot].open:
            now.waiting = _push(t.waiting, now.waiting, time, number, slot)
        else:
            t.counts[_FORGOTTEN] += 1
            _loosen(t, t.opened[slot].key)
            _end(t, slot)


@jit
def loosen(t: Any, keys_K: Any) -> None:
    """These keys [K], those below 0 aside, may stand for nothing."""
    now = t.now[0]
    for key in keys_K:
        if key >= 0:
            t.loose[now.loose] = key
            now.loose += 1


# Moments


@jit
def _advance(t: Any, clock: int) -> None:
    """The clock moves on. What became known meanwhile comes out in the order in which it did."""
    now, window = t.now[0], t.now[0].wait + t.now[0].lateness
    now.clock = clock
    while now.due and t.due[0, 0] < clock:
        moment, number, slot = t.due[0, 0], t.due[0, 1], t.due[0, 2]
        now.due = _pop(t.due, now.due)
        _close_until(t, moment - window)
        shown = t.opened[slot]
        if shown.open and shown.number == number and not shown.silent:
            shown.silent = True
            _give_out_silence(t, slot, moment + 1)
    _close_until(t, clock - window - 1)
    while now.held_entries and t.held[0, 0] < clock - now.lateness:
        t.counts[_UNMATCHED] += _drop_first(t)


@jit
def _close_until(t: Any, time: int) -> None:
    """Close the windows of impressions up to `time`."""
    while t.now[0].waiting and t.waiting[0, 0] <= time:
        _close(t, False)


@jit
def _close(t: Any, early: bool) -> None:
    """Close the oldest window. Its labels are known when the watermark passes its end; if it is `early`, now."""
    now, slot = t.now[0], t.waiting[0, 2]
    now.waiting = _pop(t.waiting, now.waiting)
    shown = t.opened[slot]
    shown.open = False
    now.shown_items -= shown.items
    end = _later(shown.time, now.wait)
    _remember(t, shown.key, _later(max(end, now.clock), now.memory))
    t.counts[_CLOSED_EARLY if early else _CLOSED] += 1
    t.counts[_NEGATIVES] += shown.items - shown.decided
    known = now.clock if early else _later(_later(end, now.lateness), 1)
    if not now.paced:
        _give_out_all(t, slot, known)
    elif not shown.silent:
        _give_out_silence(t, slot, known)
    _end(t, slot)


@inlined
def _end(t: Any, slot: int) -> None:
    """Let an impression go whose window is over, with its interactions."""
    now, shown = t.now[0], t.opened[slot]
    if now.paced:
        list_closed(t.delays, shown.items)
    place = shown.first
    while place >= 0:
        if now.paced and t.acted[place].bin >= 0:
            click_closed(t.delays, t.acted[place].bin)
        _release(t, place)
        place = t.acted[place].after
    if now.paced:
        fade(t.delays)
    t.ended[now.ended] = slot
    now.ended += 1


@inlined
def _remember(t: Any, key: int, until: int) -> None:
    """A window closed; forget those whose time the watermark has passed, and the oldest of too many."""
    now, size = t.now[0], len(t.closed)
    t.keys[key].state = CLOSED
    last = (now.closed_first + now.closed) % size
    t.closed[last, 0], t.closed[last, 1] = key, until
    now.closed += 1
    while t.closed[now.closed_first, 1] < now.clock - now.lateness or now.closed > now.max_pending:
        _loosen(t, t.closed[now.closed_first, 0])
        now.closed_first = (now.closed_first + 1) % size
        now.closed -= 1


@inlined
def _loosen(t: Any, key: int) -> None:
    t.keys[key].state = NEW
    t.loose[t.now[0].loose] = key
    t.now[0].loose += 1


# Impressions


@inlined
def _show(t: Any, key: int, slot: int) -> bool:
    """Take an impression; False, and nothing is done, when delays must be estimated before it."""
    now, shown = t.now[0], t.opened[slot]
    if t.keys[key].state == NEW and shown.time >= now.clock - now.wait - now.lateness:
        if now.paced and t.delays.tally[0].until_estimate <= 0:
            return False
        _open(t, key, slot)
        return True
    t.ended[now.ended] = slot
    now.ended += 1
    if t.keys[key].state != NEW:
        t.counts[_SHOWN_AGAIN] += 1
    else:
        t.counts[_SHOWN_LATE] += 1
        while t.keys[key].first >= 0:
            t.counts[_LATE] += 1
            _unhold(t, t.keys[key].first)
        _remember(t, key, _later(now.clock, now.memory))
    return True


@jit
def _open(t: Any, key: int, slot: int) -> None:
    now, shown = t.now[0], t.opened[slot]
    t.counts[_SHOWN] += 1
    t.keys[key].state, t.keys[key].slot = OPEN, slot
    shown.key, shown.number, shown.clock = key, now.sequence, now.clock
    shown.first = shown.last = -1
    shown.decided, shown.silent, shown.open = 0, False, True
    now.shown_items += shown.items
    now.waiting = _push(t.waiting, now.waiting, shown.time, shown.number, slot)
    if now.paced:
        _await_silence(t, slot)
    since = now.decisions
    while t.keys[key].first >= 0:
        place = t.keys[key].first
        _unhold(t, place)
        _decide(t, slot, place)
    _give_out_decided(t, slot, since)
    if now.waiting > now.max_pending:
        _close(t, True)
        _prune(t)


@inlined
def _await_silence(t: Any, slot: int) -> None:
    list_shown(t.delays, t.now[0].clock, t.opened[slot].items)
    _await(t, slot)


@inlined
def _await_again(t: Any) -> None:
    """Draw all ages anew if the estimate has moved, as happens in the first window of a log."""
    now, tally = t.now[0], t.delays.tally[0]
    if now.version == tally.version:
        return
    now.version = tally.version
    now.due = 0
    for n in range(now.waiting):
        if not t.opened[t.waiting[n, 2]].silent:
            _await(t, t.waiting[n, 2])


@jit
def _await(t: Any, slot: int) -> None:
    """Its silence will be learned at an age from its draw, unless its window closes before."""
    now, shown = t.now[0], t.opened[slot]
    due = max(_later(shown.clock, t.delays.ages[shown.draw]), now.clock)
    if due < _later(shown.time, now.wait + now.lateness):
        now.due = _push(t.due, now.due, due, shown.number, slot)


@inlined
def _prune(t: Any) -> None:
    """Forget the silence of impressions that closed early, when there are many."""
    now = t.now[0]
    if now.due <= 2 * now.max_pending:
        return
    size, now.due = now.due, 0
    for n in range(size):
        at, number, slot = t.due[n, 0], t.due[n, 1], t.due[n, 2]
        shown = t.opened[slot]
        if shown.open and shown.number == number and not shown.silent:
            now.due = _push(t.due, now.due, at, number, slot)


# Interactions


@inlined
def _act(t: Any, key: int, place: int) -> None:
    now, acted = t.now[0], t.acted[place]
    if acted.action < 0:
        t.counts[_IGNORED] += 1
        _release(t, place)
    elif t.keys[key].state == OPEN:
        since = now.decisions
        _decide(t, t.keys[key].slot, place)
        _give_out_decided(t, t.keys[key].slot, since)
    elif t.keys[key].state == CLOSED:
        t.counts[_LATE] += 1
        _release(t, place)
    elif acted.time < now.clock - now.lateness:
        t.counts[_UNMATCHED] += 1
        _release(t, place)
    else:
        _hold(t, key, place)


@jit
def _decide(t: Any, slot: int, place: int) -> None:
    """Count an interaction with an open impression; the first with an item decides its label."""
    now, shown, acted = t.now[0], t.opened[slot], t.acted[place]
    acted.position = _position(t, shown, acted)
    outcome = _outcome(t, shown, acted)
    t.counts[outcome] += 1
    if outcome != _JOINED:
        _release(t, place)
        return
    _chain(t, shown, place)
    acted.state, acted.slot, acted.bin = DECIDED, slot, -1
    shown.decided += 1
    if not acted.positive:
        t.counts[_NEGATIVES] += 1
    else:
        t.counts[_POSITIVES] += 1
        acted.bin = bin_of(t.delays, now.clock - shown.clock) if now.paced else 0
        if now.paced:
            t.delays.open_clicks_B[acted.bin] += 1
    t.decisions[now.decisions] = place
    now.decisions += 1


@inlined
def _outcome(t: Any, shown: Any, acted: Any) -> int:
    if acted.time > _later(shown.time, t.now[0].wait):
        return _LATE
    if acted.position < 0:
        return _UNKNOWN
    place = shown.first
    while place >= 0:
        if t.acted[place].position == acted.position:
            return _DUPLICATE if t.acted[place].action == acted.action else _DUPLICATE_LABEL
        place = t.acted[place].after
    return _JOINED


@inlined
def _position(t: Any, shown: Any, acted: Any) -> int:
    """The first position of an item, because an interaction names no position; -1 if it was not shown."""
    first, size = shown.number_start + HEAD, np.int64(acted.text_size)
    start = t.numbers[first - 2]
    for position in range(shown.items):
        number = t.numbers[first + position]
        stop = number & 0xFFFFFFFF
        if np.uint64(number) >> np.uint64(32) == acted.hash and stop - start == size:
            same = True
            for n in range(size):
                same &= t.texts[shown.text + start + n] == t.acted_texts[acted.text + n]
            if same:
                return position
        start = stop
    return -1


@inlined
def _give_out_decided(t: Any, slot: int, since: int) -> None:
    """What interactions decided together; of items given out as negative before, only the positive ones."""
    now, shown, first = t.now[0], t.opened[slot], t.now[0].positions
    if now.paced:
        for n in range(since, now.decisions):
            acted = t.acted[t.decisions[n]]
            if acted.positive or not shown.silent:
                _label(t, acted.position, acted.positive)
    if shown.silent:
        t.counts[_CORRECTED] += now.positions - first
    _give_out(t, slot, now.clock, first, shown.silent)


@jit
def _give_out_silence(t: Any, slot: int, known: int) -> None:
    """Items that no interaction has decided, negative."""
    first = t.now[0].positions
    _mark(t, slot, 1, -1)
    for position in range(t.opened[slot].items):
        if not t.marks[position]:
            _label(t, position, 0)
    _mark(t, slot, 0, -1)
    _give_out(t, slot, known, first, False)


@jit
def _give_out_all(t: Any, slot: int, known: int) -> None:
    """All items, positive where an interaction made them so."""
    first = t.now[0].positions
    _mark(t, slot, 1, 0)
    for position in range(t.opened[slot].items):
        _label(t, position, t.marks[position])
    _mark(t, slot, 0, 0)
    _give_out(t, slot, known, first, False)


@inlined
def _mark(t: Any, slot: int, mark: int, least: int) -> None:
    """Mark the decided items of an impression whose bin is `least` or more, which those of positive ones are from 0."""
    place = t.opened[slot].first
    while place >= 0:
        if t.acted[place].bin >= least:
            t.marks[t.acted[place].position] = mark
        place = t.acted[place].after


@inlined
def _label(t: Any, position: int, label: int) -> None:
    now = t.now[0]
    t.positions[now.positions], t.labels[now.positions] = position, label
    now.positions += 1


@inlined
def _give_out(t: Any, slot: int, known: int, since: int, learned: bool) -> None:
    """The labels from `since` on, if there are any."""
    now = t.now[0]
    if now.positions > since:
        out = t.outputs[now.outputs]
        out.slot, out.known, out.sequence, out.learned = slot, known, now.sequence, learned
        out.since, out.until = since, now.positions
        now.outputs += 1


@inlined
def _hold(t: Any, key: int, place: int) -> None:
    """Keep an interaction until its impression comes; beyond `max_pending` the oldest is dropped."""
    now, waiting, acted = t.now[0], t.keys[key], t.acted[place]
    _chain(t, waiting, place)
    acted.state, acted.key, acted.number = HELD, key, now.sequence
    now.held += 1
    now.held_entries = _push(t.held, now.held_entries, acted.time, acted.number, place)
    while now.held > now.max_pending:
        t.counts[_UNMATCHED] += _drop_first(t)
    if now.held_entries > 2 * now.max_pending:  # nearly all were taken while the clock stood still
        size, now.held_entries = now.held_entries, 0
        for n in range(size):
            time, number, other = t.held[n, 0], t.held[n, 1], t.held[n, 2]
            if t.acted[other].state == HELD and t.acted[other].number == number:
                now.held_entries = _push(t.held, now.held_entries, time, number, other)


@inlined
def _chain(t: Any, owner: Any, place: int) -> None:
    """Append an interaction to the chain of a key or an open impression."""
    t.acted[place].before, t.acted[place].after = owner.last, -1
    if owner.last >= 0:
        t.acted[owner.last].after = place
    else:
        owner.first = place
    owner.last = place


@jit
def chain_again(t: Any, keys_H: Any, places_H: Any, slots_D: Any, places_D: Any) -> None:
    """After a restart: these interactions are held for these keys, and those decided labels of these slots."""
    for n in range(len(keys_H)):
        _chain(t, t.keys[keys_H[n]], places_H[n])
    for n in range(len(slots_D)):
        _chain(t, t.opened[slots_D[n]], places_D[n])
        t.opened[slots_D[n]].decided += 1


@jit
def _unhold(t: Any, place: int) -> None:
    """Take a held interaction out; it is still to be released or to decide a label."""
    now, acted = t.now[0], t.acted[place]
    waiting = t.keys[acted.key]
    if acted.before >= 0:
        t.acted[acted.before].after = acted.after
    else:
        waiting.first = acted.after
    if acted.after >= 0:
        t.acted[acted.after].before = acted.before
    else:
        waiting.last = acted.before
    acted.state = FREE
    now.held -= 1
    if not now.held:
        now.held_entries = 0


@jit
def _drop_first(t: Any) -> int:
    """Drop the oldest held interaction; 0 when its impression has taken it before."""
    now = t.now[0]
    number, place = t.held[0, 1], t.held[0, 2]
    now.held_entries = _pop(t.held, now.held_entries)
    if t.acted[place].state != HELD or t.acted[place].number != number:
        return 0
    key = t.acted[place].key
    _unhold(t, place)
    _release(t, place)
    if t.keys[key].first < 0:
        _loosen(t, key)
    return 1


@inlined
def _release(t: Any, place: int) -> None:
    t.acted[place].state = FREE
    t.released[t.now[0].released] = place
    t.now[0].released += 1


# Delays of clicks (see `ClickDelays`)


@jit
def bin_of(d: Any, delay: int) -> int:
    """Number of the bin of a delay."""
    bin_: Any = np.searchsorted(d.edges_E[:-1], np.float64(delay), "right") - 1
    return bin_  # type: ignore[no-any-return]


@jit
def list_shown(d: Any, clock: int, items: int) -> None:
    """A list was shown; clocks do not fall."""
    tally = d.tally[0]
    tally.until_estimate -= 1
    d.clocks[tally.lists] = clock
    d.totals[tally.lists + 1] = d.totals[tally.lists] + items
    tally.lists += 1


@jit
def list_closed(d: Any, items: int) -> None:
    """The window of a list, about the one shown longest ago, is over."""
    d.tally[0].first += 1
    d.tally[0].closed += items


@jit
def click_closed(d: Any, bin_: int) -> None:
    """The window of a list with a click in this bin is over."""
    d.open_clicks_B[bin_] -= 1
    d.clicks_B[bin_] += 1


@jit
def fade(d: Any) -> None:
    """Halve the counts of the closed when they are many."""
    if d.tally[0].closed > d.tally[0].memory:
        d.tally[0].closed /= 2
        for bin_ in range(len(d.clicks_B)):
            d.clicks_B[bin_] /= 2


# Priority queues: binary heaps of rows (time, number, place), by time and number


@jit
def _later(time: int, duration: int) -> int:
    """`time` + `duration`, at most the last time there is."""
    return time + duration if time <= LAST - duration else LAST


@jit
def _push(heap: Any, size: int, time: int, number: int, place: int) -> int:
    """Returns the new size."""
    n = size
    while n > 0:
        parent = (n - 1) >> 1
        if heap[parent, 0] < time or (heap[parent, 0] == time and heap[parent, 1] < number):
            break
        heap[n, 0], heap[n, 1], heap[n, 2] = heap[parent, 0], heap[parent, 1], heap[parent, 2]
        n = parent
    heap[n, 0], heap[n, 1], heap[n, 2] = time, number, place
    return size + 1


@jit
def _pop(heap: Any, size: int) -> int:
    """Remove the first. Returns the new size."""
    size -= 1
    time, number, place = heap[size, 0], heap[size, 1], heap[size, 2]
    n, child = 0, 1
    while child < size:
        other = child + 1
        if other < size and (
            heap[other, 0] < heap[child, 0] or (heap[other, 0] == heap[child, 0] and heap[other, 1] < heap[child, 1])
        ):
            child = other
        if time < heap[child, 0] or (time == heap[child, 0] and number < heap[child, 1]):
            break
        heap[n, 0], heap[n, 1], heap[n, 2] = heap[child, 0], heap[child, 1], heap[child, 2]
        n, child = child, 2 * child + 1
    heap[n, 0], heap[n, 1], heap[n, 2] = time, number, place
    return size
