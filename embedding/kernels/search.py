"""Finding the ids of a batch in the table. Suffix: N ids. See `lines` for the layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, ZERO, inlined, jit, line_equal, mix, prefetch_far, trailing_zeros
from embedding.kernels.lines import KEYS, S32, empty_word, home, next_line, touch_slot

AHEAD = 64  # ids between a prefetch and its use
RING = 128
DEFER = 32  # ids between two looks at those that were not in the line last read
LATE = 4 * DEFER  # how many of those may wait


@inlined
def _row_at(table: Any, slot: Any, stamp: Any, count: Any, touches: Any) -> Any:
    return touch_slot(table, slot, stamp, count) if touches else np.int32(table[slot + ONE] >> S32)


@inlined
def _listed(missing_N: Any, missing: Any, i: Any, touches: Any) -> Any:
    if touches:
        missing_N[missing] = i
    return missing + 1


def _searcher(touches: bool) -> Any:
    """The kernel that finds ids, compiled with or without a trace of the sighting."""

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
        """Rows of ids; rows_N is -1 where there is none. Returns how many those are; `touch` lists them in missing_N.

        A line is asked for long before it is read: the home line AHEAD ids before; an id that is not in its full line
        waits for the next line in a list, and again for the one after it.
        """
        n, missing = len(ids_N), 0
        mixed, homes = np.empty(RING, np.uint64), np.empty(RING, np.uint32)
        late, late_line, waiting, asked = np.empty(LATE, np.uint32), np.empty(LATE, np.uint32), 0, 0
        for i in range(-AHEAD, n):
            if i + AHEAD < n:
                h = mix(ids_N[i + AHEAD])
                line = home(h, bits, stride, lines_S)
                mixed[(i + AHEAD) & (RING - 1)], homes[(i + AHEAD) & (RING - 1)] = h, np.uint32(line)
                prefetch_far(table, line * U64(8))
            if i < 0:
                continue
            h, line = mixed[i & (RING - 1)], U64(homes[i & (RING - 1)])
            found = line_equal(table, line * U64(8), h) & KEYS
            if found != ZERO:
                slot = line * U64(8) + trailing_zeros(found)
                rows_N[i] = _row_at(table, slot, stamp, U64(counts_N[i]), touches)
            elif (line_equal(table, line * U64(8), empty_word(h)) & KEYS) != ZERO:
                rows_N[i] = -1
                missing = _listed(missing_N, missing, i, touches)
            else:
                line = next_line(line, h, bits, stride, lines_S)
                prefetch_far(table, line * U64(8))
                late[waiting], late_line[waiting] = np.uint32(i), np.uint32(line)
                waiting += 1
            last = i == n - 1
            if (i & (DEFER - 1)) != DEFER - 1 and not last:
                continue
            while True:
                kept = 0
                for t in range(waiting):
                    j, line = U64(late[t]), U64(late_line[t])
                    if t < asked:  # the others were asked for just now
                        h = mix(ids_N[j])
                        found = line_equal(table, line * U64(8), h) & KEYS
                        if found != ZERO:
                            slot = line * U64(8) + trailing_zeros(found)
                            rows_N[j] = _row_at(table, slot, stamp, U64(counts_N[j]), touches)
                            continue
                        if (line_equal(table, line * U64(8), empty_word(h)) & KEYS) != ZERO:
                            rows_N[j] = -1
                            missing = _listed(missing_N, missing, j, touches)
                            continue
                        line = next_line(line, h, bits, stride, lines_S)
                        prefetch_far(table, line * U64(8))
                    late[kept], late_line[kept] = np.uint32(j), np.uint32(line)
                    kept += 1
                waiting = asked = kept
                if waiting <= (0 if last else LATE - DEFER):
                    break
        return missing

    return search


find = _searcher(touches=False)
touch = _searcher(touches=True)
