"""Eviction: ids in order of their *place*, the lowest first. See `lines` for the layout of the table.

A place is the eviction priority of an id (last seen << 8 | frequency, 32 bits), then the upper half of its tie
`mix(mixed id + draw)`; ids of one place are in the order of the whole tie. Ids wait in a sorted run, each with the
place that it had when it was put there. Being seen only raises a place, so an id that comes first is looked up, and
waits again, in a binary heap, if it has moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
    trailing_zeros,
    unmix,
)
from embedding.kernels.id_table.lines import FREQ, KEYS, S8, S32, empty_word, find_slot, free_row, home
from embedding.kernels.id_table.place_order import before, place_of
from embedding.kernels.id_table.table_segment import close_slot

BLOCK = 64  # ids whose lines are asked for together, a block before they are read
LATE = 2 * BLOCK  # ids in full lines that may wait until these are closed
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
def _ask(table: Any, lines_S: Any, bits: Any, stride: Any, keys: Any, begin: Any) -> None:
    """Ask for the home lines of the block of ids at `begin`."""
    for k in range(begin, min(begin + BLOCK, len(keys))):
        prefetch_far(table, home(keys[k], bits, stride, lines_S) * U64(8))


@inlined
def _look(table: Any, lines_S: Any, bits: Any, stride: Any, keys: Any, begin: Any, slots: Any) -> None:
    """The slots of those ids of the block at `begin` that are in their home line, else any slot of it.

    Asks for the line after a full one, from which an id may move up.
    """
    for k in range(min(BLOCK, len(keys) - begin)):
        key = keys[begin + k]
        word = home(key, bits, stride, lines_S) * U64(8)
        found = line_equal(table, word, key) & KEYS
        slots[k] = word + (trailing_zeros(found) if found != ZERO else ZERO)
        if (line_equal(table, word, empty_word(key)) & KEYS) == ZERO:
            prefetch_far(table, word + U64(8))


@inlined
def _close(table: Any, lines_S: Any, bits: Any, stride: Any, closing: Any, closing_keys: Any, waiting: Any) -> None:
    """Close the slots of ids that are dropped; closing the one may have moved the other."""
    for k in range(waiting):
        slot = closing[k]
        if table[slot] != closing_keys[k]:
            slot = find_slot(table, lines_S, bits, stride, closing_keys[k])
        close_slot(table, lines_S, bits, stride, slot)


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
    done, cursor, size, aside, looked, waiting = 0, 0, 0, 0, 0, 0
    slots, closing, closing_keys = np.empty(BLOCK, np.uint64), np.empty(LATE, np.uint64), np.empty(LATE, np.uint64)
    _ask(table, lines_S, bits, stride, run_keys, 0)
    while done < len(ids):
        listed = cursor < len(run_keys)
        if waiting == LATE or (listed and cursor == looked):
            _close(table, lines_S, bits, stride, closing, closing_keys, waiting)
            waiting = 0
        if listed and cursor == looked:
            _ask(table, lines_S, bits, stride, run_keys, looked + BLOCK)
            _look(table, lines_S, bits, stride, run_keys, looked, slots)
            looked += BLOCK
        if size > 0 and not (
            listed and before(run_places[cursor], run_keys[cursor], heap_places[0], heap_keys[0], draw)
        ):
            place, key = heap_places[0], heap_keys[0]
            _pop(heap_places, heap_keys, size, draw)
            size -= 1
            slot = find_slot(table, lines_S, bits, stride, key)
        elif listed:
            place, key, slot = run_places[cursor], run_keys[cursor], slots[cursor % BLOCK]
            if table[slot] != key:
                slot = find_slot(table, lines_S, bits, stride, key)
            cursor += 1
        else:
            break
        if slot == ~ZERO or table[slot + ONE] == ZERO:  # dropped before
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
            ids[done], packed[done] = unmix(key), word
            free_row(bits, counts_S, state, free, key, row)
            done += 1
            hole = empty_word(key)
            full = (line_equal(table, slot & ~U64(7), hole) & KEYS) == ZERO
            table[slot], table[slot + ONE] = key if full else hole, ZERO
            closing[waiting], closing_keys[waiting] = slot, key
            waiting += 1 if full else 0
    _close(table, lines_S, bits, stride, closing, closing_keys, waiting)
    return done, cursor, size, aside
