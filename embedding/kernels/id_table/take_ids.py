"""Removal of given ids. See `lines` for the layout of the table."""

from __future__ import annotations

from typing import Any

from embedding.kernels.bits import ONE, U64, ZERO, jit, mix, prefetch_far
from embedding.kernels.id_table.lines import S32, find_slot, free_row, home
from embedding.kernels.id_table.table_segment import close_slot

AHEAD = 32  # ids between a prefetch and its use


@jit
def take(
    table: Any,
    lines_S: Any,
    bits: Any,
    stride: Any,
    counts_S: Any,
    state: Any,
    free: Any,
    ids_N: Any,
    packed_N: Any,
) -> None:
    """Drop ids, and write the metadata that each had, or 0 where there was none."""
    for i in range(len(ids_N)):
        if i + AHEAD < len(ids_N):
            prefetch_far(table, home(mix(ids_N[i + AHEAD]), bits, stride, lines_S) * U64(8))
        key = mix(ids_N[i])
        slot = find_slot(table, lines_S, bits, stride, key)
        packed_N[i] = ZERO
        if slot != ~ZERO:
            packed_N[i] = table[slot + ONE]
            close_slot(table, lines_S, bits, stride, slot)
            free_row(bits, counts_S, state, free, key, packed_N[i] >> S32)
