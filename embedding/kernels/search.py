"""Finding the ids of a batch in the table. Suffix: N ids. See `lines` for the layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedding.kernels.bits import ONE, U64, ZERO, inlined, jit, line_equal, mix, prefetch, trailing_zeros
from embedding.kernels.lines import KEYS, S32, empty_word, home, next_line, touch_slot

AHEAD = 64  # ids between a prefetch and its use
RING = 128
DEFER = 32  # ids between a miss in the home line and a look at the next


@inlined
def _row_at(table: Any, slot: Any, stamp: Any, count: Any, touches: Any) -> Any:
    return touch_slot(table, slot, stamp, count) if touches else np.int32(table[slot + ONE] >> S32)


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
        """Rows of ids; rows_N is -1 and missing_N lists the position where there is none. Returns how many.

        Lines are asked for AHEAD ids before they are read. An id that is not in its full home line waits for the next
        line in a list that is looked through after DEFER more ids.
        """
        n, missing = len(ids_N), 0
        ring = np.empty(RING, np.uint32)
        late, late_line = np.empty((2, DEFER), np.uint32), np.empty((2, DEFER), np.uint32)
        current, waiting, filling = 0, 0, 0
        for i in range(-AHEAD, n):
            if i + AHEAD < n:
                line = home(mix(ids_N[i + AHEAD]), bits, stride, lines_S)
                ring[(i + AHEAD) & (RING - 1)] = np.uint32(line)
                prefetch(table, line * U64(8))
            if i < 0:
                continue
            h, line = mix(ids_N[i]), U64(ring[i & (RING - 1)])
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
            last = i == n - 1
            if (i & (DEFER - 1)) == DEFER - 1 or last:
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


find = _searcher(touches=False)
touch = _searcher(touches=True)
