"""Finding the ids of a batch in the table, block by block. Suffix: N ids. See `lines` for the layout.

Every line is asked for a block before it is read: the home line of an id, then, while the id is neither there nor can
be known to be absent, the line after it. Small loops, one for each step, keep their values in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, ZERO, inlined, jit, line_equal, mix, prefetch_far, trailing_zeros
from embedding.kernels.id_table.lines import KEYS, S32, empty_word, home, next_line, touch_slot

BLOCK = 64
LATE = 2 * BLOCK  # ids that may wait for lines after their home
NOWHERE = ~ZERO


@inlined
def _ask(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    ids_N: Any,
    begin: Any,
    mixed: Any,
    homes: Any,
    at: Any,
) -> None:
    """Mix the ids of the block at `begin`, and ask for their home lines."""
    size = min(BLOCK, len(ids_N) - begin)
    for k in range(size):  # alone, this loop and the next become vector operations
        mixed[U64(at + k)] = mix(ids_N[U64(begin + k)])
    for k in range(size):
        homes[U64(at + k)] = home(mixed[U64(at + k)], bits, stride, lines_S)
    for k in range(size):
        prefetch_far(table, homes[U64(at + k)] * U64(8))


@inlined
def _look(table: Any, mixed: Any, homes: Any, at: Any, size: Any, slots: Any) -> None:
    """The slots of a block's ids that are in their home line, NOWHERE for the others."""
    for k in range(size):
        word = homes[U64(at + k)] * U64(8)
        found = line_equal(table, word, mixed[U64(at + k)]) & KEYS
        slots[U64(k)] = word + trailing_zeros(found) if found != ZERO else NOWHERE


@inlined
def _row_at(table: Any, slot: Any, stamp: Any, counts_N: Any, i: Any, touches: Any, counted: Any) -> Any:
    if not touches:
        return np.int32(table[slot + ONE] >> S32)
    return touch_slot(table, slot, stamp, U64(counts_N[i]) if counted else ONE)


@inlined
def _absent(rows_N: Any, missing_N: Any, missing: Any, i: Any, touches: Any) -> Any:
    rows_N[i] = -1
    if touches:
        missing_N[U64(missing)] = i
    return missing + 1


def _searcher(touches: bool, counted: bool) -> Any:
    """The kernel that finds ids, compiled with or without marking them as seen, once or a number of times.

    It refers to plain values only: if it referred to functions of this one, Numba would compile it in every process.
    """

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
    ) -> Any:
        """Rows of ids; rows_N is -1 where there is none. Returns how many those are; listed in missing_N if touched."""
        n, missing = len(ids_N), 0
        mixed, homes, slots = np.empty(2 * BLOCK, np.uint64), np.empty(2 * BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
        late, late_line, waiting, asked = np.empty(LATE, np.uint32), np.empty(LATE, np.uint32), 0, 0
        _ask(table, lines_S, bits, stride, ids_N, 0, mixed, homes, 0)
        for begin in range(0, n, BLOCK):
            at, size, last = begin & BLOCK, min(BLOCK, n - begin), begin + BLOCK >= n
            _ask(table, lines_S, bits, stride, ids_N, begin + BLOCK, mixed, homes, BLOCK - at)
            _look(table, mixed, homes, at, size, slots)
            for k in range(size):
                i, slot = U64(begin + k), slots[U64(k)]
                if slot != NOWHERE:
                    rows_N[i] = _row_at(table, slot, stamp, counts_N, i, touches, counted)
                    continue
                h, line = mixed[U64(at + k)], homes[U64(at + k)]
                if (line_equal(table, line * U64(8), empty_word(h)) & KEYS) != ZERO:
                    missing = _absent(rows_N, missing_N, missing, i, touches)
                    continue
                line = next_line(line, h, bits, stride, lines_S)
                prefetch_far(table, line * U64(8))
                late[U64(waiting)], late_line[U64(waiting)] = np.uint32(i), np.uint32(line)
                waiting += 1
            while True:
                kept = 0
                for k in range(waiting):
                    i, line = U64(late[U64(k)]), U64(late_line[U64(k)])
                    if k < asked:  # the others were asked for just now
                        h = mix(ids_N[i])
                        found = line_equal(table, line * U64(8), h) & KEYS
                        if found != ZERO:
                            slot = line * U64(8) + trailing_zeros(found)
                            rows_N[i] = _row_at(table, slot, stamp, counts_N, i, touches, counted)
                            continue
                        if (line_equal(table, line * U64(8), empty_word(h)) & KEYS) != ZERO:
                            missing = _absent(rows_N, missing_N, missing, i, touches)
                            continue
                        line = next_line(line, h, bits, stride, lines_S)
                        prefetch_far(table, line * U64(8))
                    late[U64(kept)], late_line[U64(kept)] = np.uint32(i), np.uint32(line)
                    kept += 1
                waiting = asked = kept
                if waiting <= (0 if last else LATE - BLOCK):
                    break
        return missing

    return search


find = _searcher(touches=False, counted=False)
touch = _searcher(touches=True, counted=True)
touch_once = _searcher(touches=True, counted=False)
