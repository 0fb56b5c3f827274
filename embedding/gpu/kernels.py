"""The id table's Triton kernels. `embedding.gpu.id_table` checks arguments.

**One row an id, whatever the order of programs.** Inserting is three launches; the stream orders them, so no program
ever waits for another:

1. `touch` finds the ids that are there. What stays without a row is in no slot.
2. `claim` walks from the id's home to the first open slot (empty or tombstone) and takes it by compare-and-swap. Slots
   only go from open to taken, so a lane that takes slot s for an id has seen every slot before s taken by other ids for
   good, and no lane can take another slot for the same id: it would have to pass s. The loser of a race sees which id
   won. The winner draws a row from the stack of free rows by an atomic add. If the stack is empty, it turns its slot
   into a tombstone again; that cannot give an id two rows, as later claims find the stack empty too.
3. `touch` again finds what the batch inserted, for all its duplicates; what is still missing is refused, and counted.

**Removal leaves a tombstone** (`drop`, and `embedding.gpu.sweep`): no chain breaks and no other id moves. Inserts take
tombstones again, and the host rebuilds the table if there are too many. A launch either inserts or removes, never both.

`tests/embedding/gpu/protocol.py` explores every interleaving of the second launch.
"""

from __future__ import annotations

import triton
import triton.language as tl

from embedding.gpu.bits import (
    MAX_FREQUENCY,
    empty_word,
    home,
    is_open,
    mix,
    ring_end,
    seek,
    tombstone,
)

FREE, USED, REFUSED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""Places in the table's `state`: free rows, slots that are not empty, occurrences of ids that found no free row."""


@triton.jit(do_not_specialize=["n"])
def find(
    table: tl.tensor,
    table32: tl.tensor,
    half: tl.tensor,
    ids: tl.tensor,
    rows: tl.tensor,
    n: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Rows of ids, -1 where there is none. Changes nothing."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    slot, found = seek(table, half.to(tl.int64), mix(tl.load(ids + i, mask=inside, other=0)), inside)
    row = tl.load(table32 + 4 * slot + 2, mask=found, other=-1)
    tl.store(rows + i, row.to(tl.int64), mask=inside)


@triton.jit(do_not_specialize=["n", "minute"])
def touch(
    table: tl.tensor,
    table32: tl.tensor,
    frequency: tl.tensor,
    state: tl.tensor,
    half: tl.tensor,
    ids: tl.tensor,
    rows: tl.tensor,
    n: tl.tensor,
    minute: tl.tensor,
    LAST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Find ids whose row is -1 and note them as seen. In the LAST pass those not found are counted as refused."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    wanted = inside & (tl.load(rows + i, mask=inside, other=0) < 0)
    slot, found = seek(table, half.to(tl.int64), mix(tl.load(ids + i, mask=wanted, other=0)), wanted)
    row = tl.load(table32 + 4 * slot + 2, mask=found, other=-1)
    seen = tl.load(table32 + 4 * slot + 3, mask=found, other=0, cache_modifier=".cg")
    # A hot id is up to date after its first lanes: reading first spares thousands of atomics on one address.
    tl.atomic_max(table32 + 4 * slot + 3, minute.to(tl.int32), mask=found & (seen < minute))
    count = tl.load(frequency + row, mask=found, other=0, cache_modifier=".cg")
    tl.atomic_add(frequency + row, 1, mask=found & (count < MAX_FREQUENCY))
    tl.store(rows + i, row.to(tl.int64), mask=wanted)
    if LAST:
        refused = tl.sum((wanted & (row < 0)).to(tl.int64), axis=0)
        if refused > 0:
            tl.atomic_add(state + REFUSED, refused)


@triton.jit
def _take(table: tl.tensor, half: tl.tensor, h: tl.tensor, active: tl.tensor, idle: tl.tensor) -> tl.tensor:
    """Take the first open slot from home on, unless a slot on the way holds the id: slots, who took one, was it empty.

    Compare-and-swap has no mask: lanes at rest swap -2, which is no row, for itself at their own place of `idle`.
    """
    start, end, empty = home(h, half), ring_end(h, half), empty_word(h)
    slot = start
    won = active & (h != h)
    fresh = won
    while tl.max(active.to(tl.int32), axis=0) > 0:
        word = tl.load(table + 2 * slot, mask=active, other=0, cache_modifier=".cg")
        tries = active & is_open(word, h)
        place = tl.where(tries, table + 2 * slot, idle)
        before = tl.atomic_cas(place, tl.where(tries, word, -2), tl.where(tries, h, -2))
        wins = tries & (before == word)
        won = won | wins
        fresh = fresh | (wins & (word == empty))
        active = active & ~wins & (word != h)
        # The loser of a race looks at the same slot again: the winner may have had the same id.
        passes = active & ~tries
        after = tl.where(slot + 1 == end, end - half, slot + 1)
        slot = tl.where(passes, after, slot)
        active = active & ~(passes & (after == start))
    return slot, won, fresh


@triton.jit(do_not_specialize=["n", "minute"])
def claim(
    table: tl.tensor,
    table32: tl.tensor,
    frequency: tl.tensor,
    free: tl.tensor,
    state: tl.tensor,
    half: tl.tensor,
    ids: tl.tensor,
    rows: tl.tensor,
    new: tl.tensor,
    n: tl.tensor,
    minute: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Give a slot and a free row to ids whose row is -1 and that are in no slot; `new` is 1 once for each such id."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    missing = inside & (tl.load(rows + i, mask=inside, other=0) < 0) & (tl.load(state + FREE) > 0)
    h = mix(tl.load(ids + i, mask=missing, other=0))
    slot, won, fresh = _take(table, half.to(tl.int64), h, missing, rows + tl.minimum(i, n - 1))
    wins = tl.sum(won.to(tl.int64), axis=0)
    if wins > 0:
        left = tl.atomic_add(state + FREE, -wins)
        tl.atomic_add(state + USED, tl.sum(fresh.to(tl.int64), axis=0))
        ticket = left - tl.cumsum(won.to(tl.int64), axis=0)
        given = won & (ticket >= 0)
        row = tl.load(free + ticket, mask=given, other=-1)
        tl.store(frequency + row, tl.zeros_like(row), mask=given)
        tl.store(table32 + 4 * slot + 2, row, mask=given)
        tl.store(table32 + 4 * slot + 3, tl.zeros_like(row) + minute.to(tl.int32), mask=given)
        tl.store(new + i, given.to(tl.int8), mask=given)
        tl.store(table + 2 * slot, tombstone(h), mask=won & ~given)


@triton.jit(do_not_specialize=["n"])
def recall(
    table: tl.tensor,
    table32: tl.tensor,
    frequency: tl.tensor,
    half: tl.tensor,
    ids: tl.tensor,
    minutes: tl.tensor,
    frequencies: tl.tensor,
    n: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Set last seen and frequency of distinct ids; ids that are not in the table are ignored."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    slot, found = seek(table, half.to(tl.int64), mix(tl.load(ids + i, mask=inside, other=0)), inside)
    row = tl.load(table32 + 4 * slot + 2, mask=found, other=-1)
    tl.store(table32 + 4 * slot + 3, tl.load(minutes + i, mask=found, other=0).to(tl.int32), mask=found)
    tl.store(frequency + row, tl.load(frequencies + i, mask=found, other=0).to(tl.int32), mask=found)


@triton.jit(do_not_specialize=["n"])
def drop(
    table: tl.tensor,
    table32: tl.tensor,
    free: tl.tensor,
    state: tl.tensor,
    half: tl.tensor,
    ids: tl.tensor,
    rows: tl.tensor,
    n: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Leave tombstones in place of distinct ids and free their rows: `rows`, -1 where there was no such id."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    h = mix(tl.load(ids + i, mask=inside, other=0))
    slot, found = seek(table, half.to(tl.int64), h, inside)
    row = tl.load(table32 + 4 * slot + 2, mask=found, other=-1)
    tl.store(rows + i, row.to(tl.int64), mask=inside)
    gone = tl.sum(found.to(tl.int64), axis=0)
    if gone > 0:
        place = tl.atomic_add(state + FREE, gone) + tl.cumsum(found.to(tl.int64), axis=0) - 1
        tl.store(free + place, row, mask=found)
        tl.store(table + 2 * slot, tombstone(h), mask=found)


@triton.jit
def move(
    table: tl.tensor,
    table32: tl.tensor,
    half: tl.tensor,
    wide: tl.tensor,
    wide32: tl.tensor,
    wide_half: tl.tensor,
    idle: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Copy all live ids with row and last seen into the empty table `wide`. `idle` is int64 [slots] of zeros."""
    slot = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = slot < 2 * half.to(tl.int64)
    side = tl.where(slot < half, 0, -1).to(tl.int64)
    h = tl.load(table + 2 * slot, mask=inside, other=0)
    live = inside & ~is_open(h, side)
    there, _, _ = _take(wide, wide_half.to(tl.int64), h, live, idle + slot % BLOCK)
    for word in tl.static_range(2, 4):
        value = tl.load(table32 + 4 * slot + word, mask=live, other=0)
        tl.store(wide32 + 4 * there + word, value, mask=live)


@triton.jit(do_not_specialize=["n"])
def eviction_ties(ids: tl.tensor, ties: tl.tensor, n: tl.tensor, BLOCK: tl.constexpr) -> None:
    """As `embedding.hashing.eviction_ties` with draw 0."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(ties + i, mix(mix(tl.load(ids + i, mask=i < n, other=0))), mask=i < n)
