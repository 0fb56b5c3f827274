"""The id table's kernels.

The table is one array of 64-byte lines, each of four 16-byte slots:

    word 0: mixed id (64)          word 1: row (32) | last seen, minutes (24) | frequency (8)

The top bits of the mixed id name a segment, the bits below its home line in it (a high multiply, so that lines are in
hash order); a full line sends the id to the next one. A segment holds at most a few thousand lines: growing, shrinking
and sweeping rewrite one segment in the processor's cache, and nothing else waits.

An empty slot holds a word that no id of its segment can have: all ones in the lower half of the hash space, zero in the
upper half. So every 64-bit id is legal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import (
    LOW_32,
    ONE,
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

AHEAD = 64  # ids between a prefetch and its use
RING = 128
DEFER = 32  # ids between a miss in the home line and a look at the next
KEYS = U64(0x55)  # the words of a line that hold ids
_S8, _S32, _S63, _64 = U64(8), U64(32), U64(63), U64(64)
_FREQ, _SEEN, _ROW = U64(0xFF), U64(0xFFFFFF00), U64(0xFFFFFFFF00000000)

SIZE, NEXT_ROW, FREE_TOP, NEW = 0, 1, 2, 3  # places in the table's `state`


@inlined
def empty_word(h: Any) -> Any:
    """What an empty slot holds where `h` could be."""
    return (h >> _S63) - ONE


@inlined
def home(h: Any, bits: Any, stride: Any, lines_S: Any) -> Any:
    """The line where the search for mixed id `h` begins."""
    segment = h >> (_64 - bits)
    return segment * stride + ((((h << bits) >> _S32) * U64(lines_S[segment])) >> _S32)


@inlined
def next_line(line: Any, h: Any, bits: Any, stride: Any, lines_S: Any) -> Any:
    """The line after `line`, round the end of its segment."""
    segment = h >> (_64 - bits)
    line += ONE
    first = segment * stride
    return first if line == first + U64(lines_S[segment]) else line


@inlined
def touch_slot(table: Any, slot: Any, stamp: Any, count: Any) -> Any:
    """Note a sighting: the later of both times, the frequency up to 255. Returns the row."""
    word = table[slot + ONE]
    seen = max(word & _SEEN, stamp << _S8)
    table[slot + ONE] = (word & _ROW) | seen | min((word & _FREQ) + count, _FREQ)
    return np.int32(word >> _S32)


@inlined
def _row_at(table: Any, slot: Any, stamp: Any, count: Any, touches: Any) -> Any:
    return touch_slot(table, slot, stamp, count) if touches else np.int32(table[slot + ONE] >> _S32)


def _searcher(touches: bool, indexed: bool) -> Any:
    """The kernel that finds ids, compiled with or without a trace of the sighting, for all ids or those of a list."""

    @jit
    def search(
        table: Any,
        lines_S: Any,
        bits: Any,
        stride: Any,
        ids_N: Any,
        counts_N: Any,
        stamp: Any,
        rows_N: Any,
        missing_N: Any,
        which: Any,
    ) -> Any:
        """Rows of ids; rows_N is -1 and missing_N lists the position where there is none. Returns how many.

        Lines are asked for AHEAD ids before they are read. An id that is not in its full home line waits for the next
        line in a list that is looked through after DEFER more ids. `which` lists the positions when indexed.
        """
        n, missing = len(which) if indexed else len(ids_N), 0
        ring = np.empty(RING, np.uint32)
        late, late_line = np.empty((2, DEFER), np.uint32), np.empty((2, DEFER), np.uint32)
        current, waiting, filling = 0, 0, 0
        for k in range(-AHEAD, n):
            if k + AHEAD < n:
                ahead = np.int64(which[k + AHEAD]) if indexed else k + AHEAD
                line = home(mix(ids_N[ahead]), bits, stride, lines_S)
                ring[(k + AHEAD) & (RING - 1)] = np.uint32(line)
                prefetch(table, line * U64(8))
            if k < 0:
                continue
            i = np.int64(which[k]) if indexed else k
            h, line = mix(ids_N[i]), U64(ring[k & (RING - 1)])
            found = line_equal(table, line * U64(8), h) & KEYS
            if found != ZERO:
                slot = line * U64(8) + trailing_zeros(found)
                rows_N[i] = _row_at(table, slot, stamp, U64(counts_N[i]), touches)
            elif (line_equal(table, line * U64(8), empty_word(h)) & KEYS) != ZERO:
                rows_N[i] = -1
                missing_N[missing] = i
                missing += 1
            else:
                line = next_line(line, h, bits, stride, lines_S)
                prefetch(table, line * U64(8))
                late[current, filling], late_line[current, filling] = np.uint32(i), np.uint32(line)
                filling += 1
            last = k == n - 1
            if (k & (DEFER - 1)) == DEFER - 1 or last:
                for _ in range(2 if last else 1):
                    current = 1 - current
                    for t in range(waiting):
                        j, line = U64(late[current, t]), U64(late_line[current, t])
                        h = mix(ids_N[j])
                        while True:
                            found = line_equal(table, line * U64(8), h) & KEYS
                            if found != ZERO:
                                slot = line * U64(8) + trailing_zeros(found)
                                rows_N[j] = _row_at(table, slot, stamp, U64(counts_N[j]), touches)
                                break
                            if (line_equal(table, line * U64(8), empty_word(h)) & KEYS) != ZERO:
                                rows_N[j] = -1
                                missing_N[missing] = j
                                missing += 1
                                break
                            line = next_line(line, h, bits, stride, lines_S)
                    waiting, filling = filling, 0
        return missing

    return search


find = _searcher(touches=False, indexed=False)
touch = _searcher(touches=True, indexed=False)
touch_some = _searcher(touches=True, indexed=True)


@jit
def partition(ids_N: Any, shift: Any, part: Any, which: Any) -> Any:
    """List the positions of ids whose mixed id starts with `part`; returns how many. Without branches."""
    n = 0
    for i in range(len(ids_N)):
        which[n] = i
        n += (mix(ids_N[i]) >> shift) == part
    return n


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
        segment = h >> (_64 - bits)
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
                table[slot + ONE] = (U64(row) << _S32) | (stamp << _S8) | min(U64(counts_N[i]), _FREQ)
                rows_N[i] = row
                counts_S[segment] += 1
                state[SIZE] += 1
                new_N[state[NEW]] = i
                state[NEW] += 1
                break
            line = next_line(line, h, bits, stride, lines_S)
    return len(positions)


@inlined
def _place(table: Any, first: Any, lines: Any, bits: Any, h: Any, word: Any) -> None:
    """Write an entry into a segment that has room and does not hold it yet."""
    line = (((h << bits) >> _S32) * lines) >> _S32
    while True:
        hole = line_equal(table, (first + line) * U64(8), empty_word(h)) & KEYS
        if hole != ZERO:
            slot = (first + line) * U64(8) + trailing_zeros(hole)
            table[slot], table[slot + ONE] = h, word
            return
        line += ONE
        if line == lines:
            line = ZERO


@jit
def rebuild(table: Any, lines_S: Any, bits: Any, stride: Any, segment: Any, lines: Any, scratch: Any) -> Any:
    """Spread one segment over `lines` lines."""
    first = U64(segment) * stride
    hole = empty_word(U64(segment) << (_64 - bits))
    kept = 0
    for slot in range(first * U64(8), (first + U64(lines_S[segment])) * U64(8), 2):
        if table[slot] != hole:
            scratch[kept], scratch[kept + 1] = table[slot], table[slot + 1]
            kept += 2
    for slot in range(first * U64(8), (first + U64(lines)) * U64(8), 2):
        table[slot] = hole
    lines_S[segment] = lines
    for k in range(0, kept, 2):
        _place(table, first, U64(lines), bits, scratch[k], scratch[k + 1])


@jit
def sweep(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    counts_S: Any,
    segment: Any,
    heat: Any,
    tie: Any,
    pinned: Any,
    state: Any,
    free: Any,
    scratch: Any,
    gone_ids: Any,
    gone_rows: Any,
) -> Any:
    """Drop the ids of one segment that are colder than (heat, tie), except pinned rows; free their rows.

    An id's coldness is (last seen << 8 | frequency, mixed id). Fills gone_ids and gone_rows, returns how many went.
    """
    first, lines = U64(segment) * stride, U64(lines_S[segment])
    hole = empty_word(U64(segment) << (_64 - bits))
    gone, displaced = 0, 0
    for line in range(lines):
        for slot in range((first + line) * U64(8), (first + line) * U64(8) + 8, 2):
            h, word = table[slot], table[slot + 1]
            own, row = word & LOW_32, word >> _S32
            cold = (own < heat) | ((own == heat) & (h < tie))
            away = (((h << bits) >> _S32) * lines) >> _S32 != line
            if (h != hole) & (cold | away):  # one branch, for it is hard to foresee
                if cold and len(pinned) > 0:
                    cold = (pinned[row >> U64(6)] >> (row & U64(63))) & ONE == ZERO
                if cold:
                    gone_ids[gone], gone_rows[gone] = unmix(h), row
                    gone += 1
                    table[slot] = hole
                elif away:  # its home line may have room now, so that nobody would look further
                    scratch[displaced], scratch[displaced + 1] = h, word
                    displaced += 2
                    table[slot] = hole
    for k in range(0, displaced, 2):
        _place(table, first, lines, bits, scratch[k], scratch[k + 1])
    for k in range(gone):
        free[state[FREE_TOP] + k] = gone_rows[k]
    state[FREE_TOP] += gone
    state[SIZE] -= gone
    counts_S[segment] -= gone
    return gone


@jit
def assign(table: Any, lines_S: Any, bits: Any, stride: Any, ids_N: Any, stamps_N: Any, freqs_N: Any) -> None:
    """Set last seen and frequency of ids that are in the table."""
    for i in range(len(ids_N)):
        h = mix(ids_N[i])
        line = home(h, bits, stride, lines_S)
        found = line_equal(table, line * U64(8), h) & KEYS
        while found == ZERO:
            line = next_line(line, h, bits, stride, lines_S)
            found = line_equal(table, line * U64(8), h) & KEYS
        slot = line * U64(8) + trailing_zeros(found)
        table[slot + ONE] = (table[slot + ONE] & _ROW) | (U64(stamps_N[i]) << _S8) | U64(freqs_N[i])


@jit
def entries(table: Any, lines_S: Any, bits: Any, stride: Any, segment: Any, ids: Any, words: Any) -> Any:
    """Copy the ids and second words of one segment out; returns how many."""
    first = U64(segment) * stride
    hole = empty_word(U64(segment) << (_64 - bits))
    n = 0
    for slot in range(first * U64(8), (first + U64(lines_S[segment])) * U64(8), 2):
        if table[slot] != hole:
            ids[n], words[n] = unmix(table[slot]), table[slot + 1]
            n += 1
    return n


@jit
def probe_lengths(table: Any, lines_S: Any, bits: Any, stride: Any, histogram: Any) -> None:
    """Count ids by the number of lines that finding them reads, the last bucket being that many or more."""
    for segment in range(len(lines_S)):
        first, lines = U64(segment) * stride, U64(lines_S[segment])
        hole = empty_word(U64(segment) << (_64 - bits))
        for line in range(lines):
            for slot in range((first + line) * U64(8), (first + line) * U64(8) + 8, 2):
                h = table[slot]
                if h != hole:
                    start = (((h << bits) >> _S32) * lines) >> _S32
                    steps = (U64(line) + lines - start) % lines
                    histogram[min(np.int64(steps), len(histogram) - 1)] += 1
