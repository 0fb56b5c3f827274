"""Texts of what waits in the tables (see `layout`): impressions, items of interactions, ids; compiled by Numba.

An impression is a record: in `texts` the bytes of `TEXTS` and of its items, one after the other, and in `numbers` where
each ends, counted from the record's first byte. Ids of impressions are compared, never only hashed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from streaming.join.tables.byte_kernels import add_text, copy_bytes, equal_bytes, hash_bytes

jit: Any = njit(nogil=True, cache=True, error_model="numpy")

TEXTS = ("id", "user", "features", "item_features", "experiment", "arm", "model")
HEAD = len(TEXTS) + 1
"""Numbers before those of the items: the end of each text, then how many propensities follow after the items.

The number of an item has its end in the lower half, and in the upper half a hash of it, which spares comparisons."""

IMPRESSION, INTERACTION = 0, 1
UNUSED, NEW = 0, 1
"""States of a key: not given out, or not joined; others are in `kernels`."""

_U: Any = np.uint64


@jit
def take_in(t: Any, e: Any, actions: Any, least: float, keys_N: Any, places_N: Any) -> None:
    """Keep impressions and interactions `e` (see `EventColumns`), and write the key of each and its slot or place.

    `actions` are the names that have a code; a value of `least` or more makes a label positive.
    """
    _take_shown(t, e, places_N)
    _take_acted(t, e, actions, least, places_N)
    find_keys(t, e.id, e.kinds_N == IMPRESSION, keys_N)
    chosen_N = e.kinds_N == INTERACTION
    for i in range(len(chosen_N)):
        chosen_N[i] = chosen_N[i] and t.acted[places_N[i]].action >= 0
    find_keys(t, e.impression, chosen_N, keys_N)


@jit
def free_keys(t: Any) -> None:
    """Forget the ids whose loose keys stand for nothing; none is loose any more."""
    now = t.now[0]
    for n in range(now.loose):
        key = t.loose[n]
        if t.keys[key].state == NEW and t.keys[key].first < 0:
            t.keys[key].state = UNUSED
            _take_away(t.key_places, t.keys, key)
            t.free_keys[now.free_keys] = key
            now.free_keys += 1
    now.loose = 0


@jit
def place_again(t: Any) -> None:
    """Fill the emptied `key_places`, whose number is a power of 2, by the keys in use."""
    mask = _U(len(t.key_places) - 1)
    for key in range(t.now[0].keys):
        if t.keys[key].state != UNUSED:
            i = t.keys[key].hash & mask
            while t.key_places[i]:
                i = (i + _U(1)) & mask
            t.key_places[i] = key + 1


@jit
def copy_records(t: Any, slots_R: Any, texts: Any, numbers: Any, text_starts_R: Any, number_starts_R: Any) -> None:
    """Copy the records of these slots [R] to these places."""
    for r in range(len(slots_R)):
        shown = t.opened[slots_R[r]]
        copy_bytes(texts, text_starts_R[r], t.texts, shown.text, shown.text + shown.text_size)
        copy_bytes(numbers, number_starts_R[r], t.numbers, shown.number_start, shown.number_start + shown.number_size)


@jit
def move(out: Any, data: Any, starts_L: Any, sizes_L: Any) -> int:
    """Copy pieces [L], in the order of their rising starts, side by side; writes their new starts, returns the end.

    `out` may be `data` itself.
    """
    end = 0
    for n in range(len(starts_L)):
        start, starts_L[n] = starts_L[n], end
        end = copy_bytes(out, end, data, start, start + sizes_L[n])
    return end


@jit
def of_user(t: Any, user: Any, slots_S: Any, own_S: Any) -> None:
    """Write which of the impressions in these slots [S] are of the user, given as bytes."""
    for n in range(len(slots_S)):
        shown = t.opened[slots_S[n]]
        start, stop = t.numbers[shown.number_start], t.numbers[shown.number_start + 1]
        own_S[n] = equal_bytes(t.texts, shown.text + start, shown.text + stop, user, 0, len(user))


# Records. Tables are taken apart before a loop: passing them all to a function costs more than the work it does.


@jit
def _take_shown(t: Any, e: Any, slots_N: Any) -> None:
    """Write the slot of each impression."""
    now, opened, texts, numbers, ended = t.now[0], t.opened, t.texts, t.numbers, t.ended
    item_offsets, items, propensity_offsets = e.item_offsets, e.items, e.propensity_offsets
    bits = numbers.view(np.float64)
    for i in range(len(e.kinds_N)):
        if e.kinds_N[i] != IMPRESSION:
            continue
        slot = now.slots
        if now.ended:
            now.ended -= 1
            slot = ended[now.ended]
        else:
            now.slots += 1
        shown, start, head = opened[slot], now.text_end, now.number_end
        shown.time, shown.text, shown.number_start = e.times_N[i], start, head
        end = add_text(texts, start, e.id, i)
        numbers[head] = end - start
        end = add_text(texts, end, e.user, i)
        numbers[head + 1] = end - start
        if e.features.offsets[i + 1] - e.features.offsets[i] > 2:  # most objects are {}
            end = add_text(texts, end, e.features, i)
        numbers[head + 2] = end - start
        if e.item_features.offsets[i + 1] - e.item_features.offsets[i] > 2:
            end = add_text(texts, end, e.item_features, i)
        numbers[head + 3] = end - start
        end = add_text(texts, end, e.experiment, i)
        numbers[head + 4] = end - start
        end = add_text(texts, end, e.arm, i)
        numbers[head + 5] = end - start
        end = add_text(texts, end, e.model, i)
        numbers[head + 6] = end - start
        at = head + HEAD
        for n in range(item_offsets[i], item_offsets[i + 1]):
            end = add_text(texts, end, items, n)
            hash_ = hash_bytes(items.data, items.offsets[n], items.offsets[n + 1])
            numbers[at] = hash_ >> _U(32) << _U(32) | _U(end - start)
            at += 1
        shown.items = at - head - HEAD
        first, last = propensity_offsets[i], propensity_offsets[i + 1]
        numbers[head + 7] = last - first
        for n in range(first, last):
            bits[at] = e.propensities_E[n]
            at += 1
        shown.text_size, shown.number_size = end - start, at - head
        now.text_end, now.number_end = end, at
        slots_N[i] = slot


@jit
def _take_acted(t: Any, e: Any, actions: Any, least: float, places_N: Any) -> None:
    """Write the place of each interaction."""
    now, table, texts, released, item, action = t.now[0], t.acted, t.acted_texts, t.released, e.item, e.action
    for i in range(len(e.kinds_N)):
        if e.kinds_N[i] != INTERACTION:
            continue
        place = now.places
        if now.released:
            now.released -= 1
            place = released[now.released]
        else:
            now.places += 1
        acted, start, stop = table[place], item.offsets[i], item.offsets[i + 1]
        acted.time, acted.value, acted.positive = e.times_N[i], e.values_N[i], e.values_N[i] >= least
        acted.text, acted.text_size = now.acted_end, stop - start
        acted.hash = hash_bytes(item.data, start, stop) >> _U(32)
        now.acted_end = add_text(texts, now.acted_end, item, i)
        acted.action = -1
        start, stop = action.offsets[i], action.offsets[i + 1]
        for code in range(len(actions.offsets) - 1):
            if equal_bytes(action.data, start, stop, actions.data, actions.offsets[code], actions.offsets[code + 1]):
                acted.action = code
        places_N[i] = place


# Keys: a table with open addressing; an entry of `key_places` is a key + 1, or 0


@jit
def find_keys(t: Any, ids: Any, chosen_N: Any, keys_N: Any) -> None:
    """Write the keys of the chosen ids; a new id gets one."""
    now, keys, places, texts, free = t.now[0], t.keys, t.key_places, t.key_texts, t.free_keys
    mask = _U(len(places) - 1)
    for i in range(len(chosen_N)):
        if not chosen_N[i]:
            continue
        start, stop = ids.offsets[i], ids.offsets[i + 1]
        hash_ = hash_bytes(ids.data, start, stop)
        n = hash_ & mask
        while places[n]:
            known = keys[places[n] - 1]
            if known.hash == hash_ and equal_bytes(
                texts, known.text, known.text + known.text_size, ids.data, start, stop
            ):
                break
            n = (n + _U(1)) & mask
        if not places[n]:
            key = now.keys
            if now.free_keys:
                now.free_keys -= 1
                key = free[now.free_keys]
            else:
                now.keys += 1
            places[n] = key + 1
            new = keys[key]
            new.hash, new.state, new.first, new.last = hash_, NEW, -1, -1
            new.text, new.text_size = now.key_end, stop - start
            now.key_end = add_text(texts, now.key_end, ids, i)
        keys_N[i] = places[n] - 1


@jit
def _take_away(places: Any, keys: Any, key: int) -> None:
    """Empty the key's place, and move those behind it up that would not be found else."""
    mask, one = _U(len(places) - 1), _U(1)
    empty = keys[key].hash & mask
    while places[empty] != key + 1:
        empty = (empty + one) & mask
    n = (empty + one) & mask
    while places[n]:
        home = keys[places[n] - 1].hash & mask
        if (n - home) & mask >= (n - empty) & mask:
            places[empty] = places[n]
            empty = n
        n = (n + one) & mask
    places[empty] = 0
