"""Triton kernels that pass over all slots: to list ids, to drop those of lowest priority, to export touched rows.

A pass is two launches. `count` says how many ids each program will pick; their running sums are where `collect` writes,
so lists have their exact size and come in slot order whatever the order of programs.
"""

from __future__ import annotations

import triton
import triton.language as tl

from embedding.gpu.bits import MAX_FREQUENCY, is_open, mix, tombstone, unmix
from embedding.gpu.kernels import FREE


@triton.jit
def _cold(
    table: tl.tensor,
    table32: tl.tensor,
    frequency: tl.tensor,
    touched: tl.tensor,
    half: tl.tensor,
    limits: tl.tensor,
    slot: tl.tensor,
) -> tl.tensor:
    """Mixed ids and rows of slots, and which are below `limits` (priority, tie) and, if asked, touched."""
    inside = slot < 2 * half
    side = tl.where(slot < half, 0, -1).to(tl.int64)
    h = tl.load(table + 2 * slot, mask=inside, other=0)
    live = inside & ~is_open(h, side)
    row = tl.load(table32 + 4 * slot + 2, mask=live, other=0)
    seen = tl.load(table32 + 4 * slot + 3, mask=live, other=0).to(tl.int64)
    priority, tie = tl.load(limits), tl.load(limits + 1)
    close = live & (seen == (priority >> 8))
    count = tl.minimum(tl.load(frequency + row, mask=close, other=0), MAX_FREQUENCY)
    own = seen * 256 + count
    first = mix(h).to(tl.uint64, bitcast=True) < tie.to(tl.uint64, bitcast=True)
    picked = live & ((own < priority) | ((own == priority) & first))
    if touched is not None:
        word = tl.load(touched + (row >> 5), mask=picked, other=0)
        picked = picked & (((word >> (row & 31)) & 1) != 0)
    return h, row, picked


@triton.jit
def count(
    table: tl.tensor,
    table32: tl.tensor,
    frequency: tl.tensor,
    touched: tl.tensor,
    half: tl.tensor,
    limits: tl.tensor,
    counts: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """How many ids each program of `collect` will pick."""
    slot = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    _, _, picked = _cold(table, table32, frequency, touched, half.to(tl.int64), limits, slot)
    tl.store(counts + tl.program_id(0), tl.sum(picked.to(tl.int64), axis=0))


@triton.jit
def collect(
    table: tl.tensor,
    table32: tl.tensor,
    frequency: tl.tensor,
    touched: tl.tensor,
    half: tl.tensor,
    limits: tl.tensor,
    ends: tl.tensor,
    ids: tl.tensor,
    rows: tl.tensor,
    priorities: tl.tensor,
    free: tl.tensor,
    state: tl.tensor,
    DROP: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """List ids below `limits`, in slot order, with its priority; DROP leaves tombstones and frees the rows.

    `ends` are the running sums of what `count` counted. The caller adds the number dropped to the state's FREE.
    """
    slot = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    h, row, picked = _cold(table, table32, frequency, touched, half.to(tl.int64), limits, slot)
    rank = tl.cumsum(picked.to(tl.int64), axis=0)
    place = tl.load(ends + tl.program_id(0)) - tl.sum(picked.to(tl.int64), axis=0) + rank - 1
    tl.store(ids + place, unmix(h), mask=picked)
    tl.store(rows + place, row.to(tl.int64), mask=picked)
    seen = tl.load(table32 + 4 * slot + 3, mask=picked, other=0).to(tl.int64)
    often = tl.minimum(tl.load(frequency + row, mask=picked, other=0), MAX_FREQUENCY)
    tl.store(priorities + place, seen * 256 + often, mask=picked)
    if DROP:
        tl.store(table + 2 * slot, tombstone(h), mask=picked)
        tl.store(free + tl.load(state + FREE) + place, row, mask=picked)


@triton.jit(do_not_specialize=["n"])
def mark(touched: tl.tensor, rows: tl.tensor, n: tl.tensor, BLOCK: tl.constexpr) -> None:
    """Set the bits of rows; -1 is ignored."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(rows + i, mask=i < n, other=-1)
    bit = tl.full((BLOCK,), 1, tl.int32) << (row & 31).to(tl.int32)
    word = tl.load(touched + (row >> 5), mask=row >= 0, other=0)
    tl.atomic_or(touched + (row >> 5), bit, mask=(row >= 0) & ((word & bit) == 0))
