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
    prefetch,
    trailing_zeros,
    unmix,
)
from embedding.kernels.lines import (
    FREE_TOP,
    FREQ,
    KEYS,
    NEW,
    NEXT_ROW,
    ROW,
    S8,
    S32,
    S64,
    SIZE,
    empty_word,
    home,
    next_line,
    place,
    touch_slot,
)


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
        if t + 8 < len(positions):
            prefetch(table, home(mix(ids_N[positions[t + 8]]), bits, stride, lines_S) * U64(8))
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
                if state[FREE_TOP] > 0:
                    state[FREE_TOP] -= 1
                    row = np.int64(free[state[FREE_TOP]])
                elif state[NEXT_ROW] < capacity:
                    row = state[NEXT_ROW]
                    state[NEXT_ROW] += 1
                else:
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


@inlined
def _slot_of(table: Any, lines_S: Any, bits: Any, stride: Any, h: Any) -> Any:
    """The slot of an id that is in the table."""
    line = home(h, bits, stride, lines_S)
    found = line_equal(table, line * U64(8), h) & KEYS
    while found == ZERO:
        line = next_line(line, h, bits, stride, lines_S)
        found = line_equal(table, line * U64(8), h) & KEYS
    return line * U64(8) + trailing_zeros(found)


@jit
def assign(table: Any, lines_S: Any, bits: Any, stride: Any, ids_N: Any, stamps_N: Any, freqs_N: Any) -> None:
    """Set last seen and frequency of ids that are in the table."""
    for i in range(len(ids_N)):
        h = mix(ids_N[i])
        slot = _slot_of(table, lines_S, bits, stride, h)
        table[slot + ONE] = (table[slot + ONE] & ROW) | (U64(stamps_N[i]) << S8) | U64(freqs_N[i])


@jit
def packed(table: Any, lines_S: Any, bits: Any, stride: Any, ids_N: Any, packed_N: Any) -> None:
    """The packed metadata of ids; all ones for an id that is not in the table."""
    for i in range(len(ids_N)):
        h = mix(ids_N[i])
        line = home(h, bits, stride, lines_S)
        while True:
            found = line_equal(table, line * U64(8), h) & KEYS
            if found != ZERO:
                packed_N[i] = table[line * U64(8) + trailing_zeros(found) + ONE]
                break
            if (line_equal(table, line * U64(8), empty_word(h)) & KEYS) != ZERO:
                packed_N[i] = ~ZERO
                break
            line = next_line(line, h, bits, stride, lines_S)


@inlined
def _steps(h: Any, line: Any, first: Any, lines: Any, bits: Any) -> Any:
    """How many lines after its home line `line` is, round the end of the segment."""
    start = (((h << bits) >> S32) * lines) >> S32
    return (line - first + lines - start) % lines


@inlined
def _close(table: Any, lines_S: Any, bits: Any, stride: Any, slot: Any) -> None:
    """Empty `slot`, and move up an id from beyond when its line was full, so that none is out of reach."""
    hole, line = empty_word(table[slot]), slot >> THREE
    segment = table[slot] >> (S64 - bits)
    first, lines = segment * stride, U64(lines_S[segment])
    full = (line_equal(table, line * U64(8), hole) & KEYS) == ZERO
    table[slot] = hole
    beyond, gap = line, ZERO
    while full:
        beyond = first if beyond + ONE == first + lines else beyond + ONE
        gap += ONE
        if gap == lines:
            return
        full = (line_equal(table, beyond * U64(8), hole) & KEYS) == ZERO
        for other in range(beyond * U64(8), beyond * U64(8) + U64(8), 2):
            h = table[other]
            if h != hole and _steps(h, beyond, first, lines, bits) >= gap:
                table[slot], table[slot + ONE] = h, table[U64(other) + ONE]
                table[other] = hole
                slot, gap = U64(other), ZERO
                break


@jit
def remove(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    counts_S: Any,
    state: Any,
    free: Any,
    ids_N: Any,
    rows_N: Any,
) -> None:
    """Drop distinct ids that are in the table, and free their rows."""
    for i in range(len(ids_N)):
        h = mix(ids_N[i])
        slot = _slot_of(table, lines_S, bits, stride, h)
        rows_N[i] = np.int32(table[slot + ONE] >> S32)
        _close(table, lines_S, bits, stride, slot)
        free[state[FREE_TOP]] = rows_N[i]
        state[FREE_TOP] += 1
        state[SIZE] -= 1
        counts_S[h >> (S64 - bits)] -= 1


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
