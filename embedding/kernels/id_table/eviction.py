"""Eviction: ids in order of their *place*, the lowest first. See `lines` for the layout of the table.

A place is the eviction priority of an id (last seen << 8 | frequency, 32 bits), then the upper half of its tie
`mix(mixed id + draw)`; ids of one place are in the order of the whole tie. Ids wait in a sorted run, each with the
place that it had when it was put there. Being seen only raises a place, so an id that comes first is looked up, and
waits again, in a binary heap, if it has moved.
"""

from __future__ import annotations

from typing import Any

from embedding.kernels.bits import (
    ONE,
    TWO,
    U64,
    ZERO,
    inlined,
    jit,
    line_equal,
    mix,
    prefetch_far,
    unmix,
)
from embedding.kernels.id_table.lines import FREQ, KEYS, S8, S32, empty_word, find_slot, free_row, home
from embedding.kernels.id_table.place_order import before, place_of
from embedding.kernels.id_table.table_segment import close_slot

AHEAD = 48  # ids between a prefetch and its use
_PRIORITY = U64(0xFFFFFFFF)


@inlined
def _push(places: Any, keys: Any, size: Any, place: Any, key: Any, draw: Any) -> None:
    """Add an id to the heap of `size` ids."""
    at = U64(size)
    while at > ZERO:
        parent = (at - ONE) >> ONE
        if not before(place, key, places[parent], keys[parent], draw):
            break
        places[at], keys[at] = places[parent], keys[parent]
        at = parent
    places[at], keys[at] = place, key


@inlined
def _pop(places: Any, keys: Any, size: Any, draw: Any) -> None:
    """Take the first id from the heap of `size` ids."""
    last = U64(size) - ONE
    place, key = places[last], keys[last]
    at = ZERO
    while True:
        child = TWO * at + ONE
        if child >= last:
            break
        if child + ONE < last and before(places[child + ONE], keys[child + ONE], places[child], keys[child], draw):
            child += ONE
        if not before(places[child], keys[child], place, key, draw):
            break
        places[at], keys[at] = places[child], keys[child]
        at = child
    places[at], keys[at] = place, key


@jit
def add(
    ids_N: Any, counts_N: Any, new: Any, stamp: Any, draw: Any, above: Any, limit: Any, places: Any, keys: Any
) -> Any:
    """List the new ids, seen `counts_N` times at `stamp`, that have above < place <= limit. Returns how many.

    There is room for all, and one more.
    """
    n = 0
    for i in new:
        key = mix(ids_N[i])
        places[n], keys[n] = place_of((stamp << S8) | min(U64(counts_N[i]), FREQ), key, draw), key
        n += 1 if above < places[n] <= limit else 0
    return n


@inlined
def _ask(table: Any, lines_S: Any, bits: Any, stride: Any, keys: Any, at: Any, end: Any) -> None:
    """Ask for the line of keys[at], and for the one after that of keys[at - AHEAD / 2], from which an id may move up."""
    if at < end:
        prefetch_far(table, home(keys[at], bits, stride, lines_S) * U64(8))
    if AHEAD // 2 <= at < end + AHEAD // 2:
        key = keys[at - AHEAD // 2]
        word = home(key, bits, stride, lines_S) * U64(8)
        if (line_equal(table, word, empty_word(key)) & KEYS) == ZERO:
            prefetch_far(table, word + U64(8))


@jit
def evict(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    counts_S: Any,
    state: Any,
    free: Any,
    draw: Any,
    bound: Any,
    further: Any,
    pinned: Any,
    run_places: Any,
    run_keys: Any,
    heap_places: Any,
    heap_keys: Any,
    aside_places: Any,
    aside_keys: Any,
    ids: Any,
    packed: Any,
) -> Any:
    """Drop the first ids of a run, at most len(ids).

    All ids with places up to `bound` are in the run. Those that moved beyond it, but not beyond `further`, are put
    aside, as are those whose row's bit is set in `pinned`; those that moved within it wait in the heap. Returns how
    many ids were dropped, how many of the run were seen, how many are left in the heap, and how many were put aside.
    """
    done, cursor, size, aside = 0, 0, 0, 0
    for ahead in range(AHEAD):
        _ask(table, lines_S, bits, stride, run_keys, ahead, len(run_keys))
    while done < len(ids):
        listed = cursor < len(run_keys)
        if size > 0 and not (
            listed and before(run_places[cursor], run_keys[cursor], heap_places[0], heap_keys[0], draw)
        ):
            place, key = heap_places[0], heap_keys[0]
            _pop(heap_places, heap_keys, size, draw)
            size -= 1
        elif listed:
            place, key = run_places[cursor], run_keys[cursor]
            _ask(table, lines_S, bits, stride, run_keys, cursor + AHEAD, len(run_keys))
            cursor += 1
        else:
            break
        slot = find_slot(table, lines_S, bits, stride, key)
        if slot == ~ZERO:
            continue
        word = table[slot + ONE]
        row, now = word >> S32, place_of(word & _PRIORITY, key, draw)
        if now != place and now <= bound:
            _push(heap_places, heap_keys, size, now, key, draw)
            size += 1
        elif now > bound or (len(pinned) and (pinned[row >> U64(6)] >> (row & U64(63))) & ONE):
            if now <= further:
                aside_places[aside], aside_keys[aside] = now, key
                aside += 1
        else:
            close_slot(table, lines_S, bits, stride, slot)
            ids[done], packed[done] = unmix(key), word
            free_row(bits, counts_S, state, free, key, row)
            done += 1
    return done, cursor, size, aside
