"""Kernels that write the table: new ids, and passes over one segment. Suffixes: N ids, S segments. See `lines`."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import (
    ONE,
    THREE,
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
from embedding.kernels.id_table.lines import (
    FREE_TOP,
    FREQ,
    KEYS,
    NEW,
    NEXT_ROW,
    S8,
    S32,
    S64,
    SIZE,
    displaced,
    empty_word,
    home,
    next_line,
    place,
    touch_slot,
)

AHEAD = 32  # ids between a prefetch and its use


@inlined
def _prefetch(table: Any, lines_S: Any, bits: Any, stride: Any, id_: Any) -> None:
    """The line where the search for an id begins, and the one after it."""
    word = home(mix(id_), bits, stride, lines_S) * U64(8)
    prefetch_far(table, word)
    prefetch_far(table, word + U64(8))


@inlined
def _next_row(state: Any, free: Any, capacity: Any) -> Any:
    """The row for the next new id, -1 when all are in use."""
    if state[FREE_TOP] > 0:
        state[FREE_TOP] -= 1
        return np.int64(free[state[FREE_TOP]])
    if state[NEXT_ROW] < capacity:
        state[NEXT_ROW] += 1
        return state[NEXT_ROW] - 1
    return np.int64(-1)


@jit
def insert(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    counts_S: Any,
    limits_S: Any,
    state: Any,
    free: Any,
    capacity: Any,
    ids_N: Any,
    counts_N: Any,
    stamp: Any,
    rows_N: Any,
    positions: Any,
    start: Any,
    new_N: Any,
) -> Any:
    """Give a row to the ids at positions[start:] that have none; rows_N keeps -1 when all rows are taken.

    Lists the positions of new ids in new_N[:state[NEW]]. Stops before a segment over its limit, so that the caller can
    grow it. Returns the next place in `positions`.
    """
    for t in range(start, len(positions)):
        if t + AHEAD < len(positions):
            _prefetch(table, lines_S, bits, stride, ids_N[positions[t + AHEAD]])
        i = positions[t]
        h = mix(ids_N[i])
        segment = h >> (S64 - bits)
        if counts_S[segment] >= limits_S[segment]:
            return t
        line = home(h, bits, stride, lines_S)
        while True:
            found = line_equal(table, line * U64(8), h) & KEYS
            if found != ZERO:
                rows_N[i] = touch_slot(table, line * U64(8) + trailing_zeros(found), stamp, U64(counts_N[i]))
                break
            hole = line_equal(table, line * U64(8), empty_word(h)) & KEYS
            if hole != ZERO:
                row = _next_row(state, free, capacity)
                if row < 0:
                    rows_N[i] = -1
                    break
                slot = line * U64(8) + trailing_zeros(hole)
                table[slot] = h
                table[slot + ONE] = (U64(row) << S32) | (stamp << S8) | min(U64(counts_N[i]), FREQ)
                rows_N[i] = row
                counts_S[segment] += 1
                state[SIZE] += 1
                new_N[state[NEW]] = i
                state[NEW] += 1
                break
            line = next_line(line, h, bits, stride, lines_S)
    return len(positions)


@jit
def rebuild(table: Any, lines_S: Any, bits: Any, stride: Any, segment: Any, lines: Any, scratch: Any) -> Any:
    """Rebuild one segment with `lines` lines."""
    first = U64(segment) * stride
    hole = empty_word(U64(segment) << (S64 - bits))
    kept = 0
    for slot in range(first * U64(8), (first + U64(lines_S[segment])) * U64(8), 2):
        if table[slot] != hole:
            scratch[kept], scratch[kept + 1] = table[slot], table[slot + 1]
            kept += 2
    for slot in range(first * U64(8), (first + U64(lines)) * U64(8), 2):
        table[slot] = hole
    lines_S[segment] = lines
    for k in range(0, kept, 2):
        place(table, first, U64(lines), bits, scratch[k], scratch[k + 1])


@jit
def put(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    counts_S: Any,
    limits_S: Any,
    state: Any,
    free: Any,
    capacity: Any,
    ids_N: Any,
    seen_N: Any,
    start: Any,
    rows_N: Any,
) -> Any:
    """Give a row to each of ids_N[start:], which are distinct and have none; -1 when all rows are taken.

    seen_N are their stamps and frequencies, packed as in word 1 of a slot. Stops before a segment over its limit, so
    that the caller can grow it. Returns the place of the next id.
    """
    for i in range(start, len(ids_N)):
        if i + AHEAD < len(ids_N):
            _prefetch(table, lines_S, bits, stride, ids_N[i + AHEAD])
        h = mix(ids_N[i])
        segment = h >> (S64 - bits)
        if counts_S[segment] >= limits_S[segment]:
            return i
        row = _next_row(state, free, capacity)
        rows_N[i] = row
        if row >= 0:
            place(table, segment * stride, U64(lines_S[segment]), bits, h, (U64(row) << S32) | seen_N[i])
            counts_S[segment] += 1
            state[SIZE] += 1
    return len(ids_N)


@inlined
def close_slot(table: Any, lines_S: Any, bits: Any, stride: Any, slot: Any) -> None:
    """Empty `slot`, and move up an id from beyond when its line was full, so that none is out of reach."""
    hole, segment = empty_word(table[slot]), table[slot] >> (S64 - bits)
    first, lines = segment * stride, U64(lines_S[segment])
    line, gap = (slot >> THREE) - first, ZERO
    full = (line_equal(table, (first + line) * U64(8), hole) & KEYS) == ZERO
    table[slot] = hole
    while full:
        line = ZERO if line + ONE == lines else line + ONE
        gap += ONE
        if gap == lines:
            return
        base = (first + line) * U64(8)
        full = (line_equal(table, base, hole) & KEYS) == ZERO
        beyond = displaced(table, base, hole, bits, lines, line, gap)
        if beyond != ZERO:
            other = base + trailing_zeros(beyond)
            table[slot], table[slot + ONE] = table[other], table[other + ONE]
            table[other] = hole
            slot, gap = other, ZERO


@jit
def entries(table: Any, lines_S: Any, bits: Any, stride: Any, segment: Any, ids: Any, packed: Any) -> Any:
    """Copy the ids and packed metadata of one segment; returns how many."""
    first = U64(segment) * stride
    hole = empty_word(U64(segment) << (S64 - bits))
    n = 0
    for slot in range(first * U64(8), (first + U64(lines_S[segment])) * U64(8), 2):
        if table[slot] != hole:
            ids[n], packed[n] = unmix(table[slot]), table[slot + 1]
            n += 1
    return n


@jit
def probe_lengths(table: Any, lines_S: Any, bits: Any, stride: Any, histogram: Any) -> None:
    """Count ids by the number of lines that finding them reads, the last bucket counting all longer searches."""
    for segment in range(len(lines_S)):
        first, lines = U64(segment) * stride, U64(lines_S[segment])
        hole = empty_word(U64(segment) << (S64 - bits))
        for line in range(lines):
            for slot in range((first + line) * U64(8), (first + line) * U64(8) + 8, 2):
                h = table[slot]
                if h != hole:
                    start = (((h << bits) >> S32) * lines) >> S32
                    steps = (U64(line) + lines - start) % lines
                    histogram[min(np.int64(steps), len(histogram) - 1)] += 1
