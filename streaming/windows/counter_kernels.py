"""Counts of actions over sliding windows, in buckets of time.

A window of W ms is B = `BUCKETS` buckets of w = W / B ms; R = B + 1 of them are kept in a ring, so that one that the
window has half left is there, too. A row of `times` has, for A actions and J pairs of action and window, the time of
each action's latest event (A), of its latest event before that (A) and the newest bucket of each pair (J); a row of
`counts` the R buckets of each pair. Bucket b has the events with b w <= time < (b + 1) w.

Shape suffixes: S slots, A actions, J pairs of action and window, K fields, C slots to read.
"""

from __future__ import annotations

from typing import Any, Final

from numba import njit

jit: Any = njit(nogil=True, cache=True, error_model="numpy")

BUCKETS: Final = 24
RING: Final = BUCKETS + 1
NEVER: Final = -1

COUNT, RATE, LAST = range(3)
"""What a field reads: the count of a pair, the share of two counts, the time since an action."""


@jit
def add(times_S: Any, counts_S: Any, columns_J2: Any, actions: int, slot: int, action: int, time: int) -> None:
    """Count an event of one action at `time` (ms)."""
    latest = times_S[slot, action]
    if time > latest:
        times_S[slot, actions + action] = latest
        times_S[slot, action] = time
    elif time < latest and time > times_S[slot, actions + action]:
        times_S[slot, actions + action] = time
    for j in range(len(columns_J2)):
        if columns_J2[j, 0] == action:
            bucket, newest = time // columns_J2[j, 1], times_S[slot, 2 * actions + j]
            if bucket > newest:
                for passed in range(max(newest + 1, bucket - BUCKETS), bucket + 1):
                    counts_S[slot, j * RING + passed % RING] = 0
                times_S[slot, 2 * actions + j] = newest = bucket
            if bucket > newest - RING:
                counts_S[slot, j * RING + bucket % RING] += 1


@jit
def count(times_S: Any, counts_S: Any, columns_J2: Any, actions: int, slot: int, j: int, time: int) -> float:
    """Events of pair j in the window that ends at `time`, which is not in it.

    The share of the oldest bucket that is in the window is taken of its count. If an event at `time` or later is
    counted already, the bucket of `time` counts nothing: what is in it may be later, too.
    """
    action, width = columns_J2[j, 0], columns_J2[j, 1]
    bucket, newest = time // width, times_S[slot, 2 * actions + j]
    last = min(newest, bucket if times_S[slot, action] < time else bucket - 1)
    total = 0.0
    for one in range(max(bucket - BUCKETS + 1, newest - BUCKETS, 0), last + 1):
        total += counts_S[slot, j * RING + one % RING]
    oldest = bucket - BUCKETS
    if max(newest - BUCKETS, 0) <= oldest <= last:
        total += counts_S[slot, j * RING + oldest % RING] * float((bucket + 1) * width - time) / width
    return total


@jit
def read(
    times_S: Any, counts_S: Any, columns_J2: Any, actions: int, fields_K3: Any, slots_C: Any, time: int, out_CK: Any
) -> None:
    """Fill `out_CK` with the fields of these slots as of `time`; NaN where one is missing.

    A field is what it reads, and two numbers: of one pair (`COUNT`), of the pairs of its action and of impressions
    (`RATE`), of an action (`LAST`).
    """
    for c in range(len(slots_C)):
        slot = slots_C[c]
        for k in range(len(fields_K3)):
            what, first, second = fields_K3[k, 0], fields_K3[k, 1], fields_K3[k, 2]
            if what == LAST:
                latest = times_S[slot, first]
                if latest >= time:
                    latest = times_S[slot, actions + first]
                out_CK[c, k] = (time - latest) / 1000.0 if 0 <= latest < time else float("nan")
                continue
            value = count(times_S, counts_S, columns_J2, actions, slot, first, time)
            if what == RATE:
                shown = count(times_S, counts_S, columns_J2, actions, slot, second, time)
                value = value / shown if shown > 0 else float("nan")
            out_CK[c, k] = value
