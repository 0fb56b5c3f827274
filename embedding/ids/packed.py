"""The packed metadata of an id: row (32 bits) | last seen (24 bits, minutes) | frequency (8 bits).

The kernels read and write it in `embedding.kernels.id_table.lines`; everything else does so here.
Suffixes: U distinct ids, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedding.argument_checks import MAX_FREQUENCY
from embedding.store import Index

Packed = npt.NDArray[np.uint64]
MOST_MINUTES = 1 << 24
"""The number of distinct minutes in the table (32 years)."""
LastSeen = npt.NDArray[np.int64]
"""When the id of each row was last seen and how often, minutes << 8 | frequency; 0 for a free row."""
_S8, _S32 = np.uint64(8), np.uint64(32)
_FREQUENCY, _STAMP, _PRIORITY = np.uint64(MAX_FREQUENCY), np.uint64(MOST_MINUTES - 1), np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Entries:
    """Unpacked metadata of ids.

    >>> entries = unpack(np.array([(3 << 32) | (5 << 8) | 2], np.uint64), origin=100)
    >>> entries.minutes_U.tolist()
    [105]
    >>> Entries.seen(entries.by_row(8))
    Entries(rows_U=array([3], dtype=int32), minutes_U=array([105]), freqs_U=array([2], dtype=uint8))
    """

    rows_U: Index
    minutes_U: npt.NDArray[np.int64]
    """When each id was last seen, in minutes since the epoch."""
    freqs_U: npt.NDArray[np.uint8]
    """How often each id was seen, at most 255."""

    def by_row(self, rows: int) -> LastSeen:
        """When and how often the id of each of so many rows was seen."""
        seen_R = np.zeros(rows, np.int64)
        seen_R[self.rows_U] = self.minutes_U << 8 | self.freqs_U
        return seen_R

    @staticmethod
    def seen(seen_R: LastSeen) -> Entries:
        """What `by_row` returned, without the free rows."""
        live_U = np.flatnonzero(seen_R).astype(np.int32)
        return Entries(live_U, seen_R[live_U] >> 8, (seen_R[live_U] & MAX_FREQUENCY).astype(np.uint8))


def unpack(packed_U: Packed, origin: int) -> Entries:
    """Rows, minutes and frequencies; `origin` is the minute of stamp 0."""
    minutes_U = ((packed_U >> _S8) & _STAMP).astype(np.int64) + origin
    return Entries(rows_of(packed_U), minutes_U, (packed_U & _FREQUENCY).astype(np.uint8))


def rows_of(packed_U: Packed) -> Index:
    """The row of each id."""
    return (packed_U >> _S32).astype(np.int32)


def aged(packed_U: Packed, minutes: int) -> Packed:
    """The same with all ids last seen so many minutes earlier, at the earliest at stamp 1."""
    stamps_U = ((packed_U >> _S8) & _STAMP).astype(np.int64)
    moved_U = np.maximum(stamps_U - minutes, 1).astype(np.uint64)
    return (packed_U & ~(_STAMP << _S8)) | (moved_U << _S8)
