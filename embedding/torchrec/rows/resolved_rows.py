"""The rows of a call's ids, and whether they are still valid. Suffixes: N ids of a call, U distinct ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embedding.ids.distinct_ids import DistinctIds
from embedding.ids.id_lifecycle import TableIds
from embedding.kernels.bits import jit
from embedding.store import Index, RowNumbers
from embedding.torchrec.rows.fbgemm_rows import FbgemmRows


@jit
def _expand(rows_U: Any, inverse_N: Any, missing: Any, rows_N: Any) -> None:
    """The row of each id; `missing` where there is none."""
    for i in range(len(inverse_N)):
        row = np.int64(rows_U[inverse_N[i]])
        rows_N[i] = row if row >= 0 else missing


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of the ids at `at`, which are of one table; the rows of this process begin at `begin`.

    >>> from embedding.rows.row_block import RowBlock
    >>> from embedding.store import Table
    >>> table = Table("film", dim=4, capacity=8, ttl=60_000)
    >>> ids = TableIds(table, 0, RowBlock(8, 4, table.optimizer, np.uint64(0), 0.01))
    >>> distinct, rows_U = ids.lookup_and_touch(np.array([7, 8, 7], np.uint64), now=0)
    >>> piece = TableRows(ids, slice(0, 3), 0, distinct, rows_U, ids.removals)
    >>> sum(ids.expiring(now=180_000)), piece.now().rows_U.tolist()
    (2, [-1, -1])
    """

    table: TableIds
    at: slice
    begin: int
    distinct: DistinctIds
    rows_U: Index
    removals: int

    def write(self, rows_N: RowNumbers) -> None:
        """Write row numbers in this process; for an id without a row, the number that plus `begin` is -1."""
        _expand(self.rows_U, self.distinct.inverse_N, -1 - self.begin, rows_N[self.at])

    def now(self) -> TableRows:
        """The same ids with their present rows."""
        return replace(self, rows_U=self.table.revalidate(self.distinct, self.rows_U >= 0))


class ResolvedRows:
    """The rows of a call's ids in this process, below zero for an id without one."""

    def __init__(self, pieces: Sequence[TableRows], n: int) -> None:
        self.pieces = pieces
        self.rows_N = np.empty(n, np.int64)
        for piece in pieces:
            piece.write(self.rows_N)

    def changed(self) -> bool:
        """Whether ids were removed since."""
        return any(piece.table.removals != piece.removals for piece in self.pieces)

    def now(self) -> ResolvedRows:
        """The same ids with their present rows; ids that lost theirs are counted as stale."""
        return ResolvedRows([piece.now() for piece in self.pieces], len(self.rows_N))

    def half(self) -> bool:
        """Whether rows are of half precision, where a small step may be infinite."""
        return any(isinstance(piece.table.rows, FbgemmRows) and piece.table.rows.half for piece in self.pieces)

    def learned(self) -> None:
        """Mark the rows as changed by an optimizer step; it counts in a process without any, too, as in the others."""
        for piece in self.pieces:
            piece.table.rows.step += 1
            piece.table.changes.mark(piece.rows_U)
