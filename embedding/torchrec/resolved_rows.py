"""Which rows a call's ids have, and whether they still have them. Suffixes: N ids of a call, U distinct ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embedding.ids.id_lifecycle import Batch, TableIds
from embedding.kernels.bits import jit
from embedding.store import Index, Rows


@jit
def _expand(rows_U: Any, inverse_N: Any, first: Any, missing: Any, rows_N: Any) -> None:
    """The row of each id, counted from `first`; `missing` where there is none."""
    for i in range(len(inverse_N)):
        row = np.int64(rows_U[inverse_N[i]])
        rows_N[i] = row + first if row >= 0 else missing


@dataclass(frozen=True, slots=True)
class Piece:
    """What one bucket found for the ids at `at`; its rows begin at `first` in the process, the process's at `begin`.

    >>> from embedding.rows.row_block import RowBlock
    >>> from embedding.store import Table
    >>> table = Table("film", dim=4, capacity=8, ttl=60_000)
    >>> ids = TableIds(table, 0, RowBlock(8, 4, table.optimizer, np.uint64(0), 0.01))
    >>> batch, rows_U = ids.touch(np.array([7, 8, 7], np.uint64), now=0)
    >>> piece = Piece(ids, slice(0, 3), first=100, begin=0, batch=batch, rows_U=rows_U, removals=ids.removals)
    >>> sum(ids.expiring(now=180_000)), piece.now().rows_U.tolist()
    (2, [-1, -1])
    """

    table: TableIds
    at: slice | Rows
    first: int
    begin: int
    batch: Batch
    rows_U: Index
    removals: int

    def write(self, rows_N: Rows) -> None:
        """Rows in this process; where there is none, what becomes -1 when `begin` is added to it."""
        part = rows_N[self.at]  # a view when `at` is a slice
        _expand(self.rows_U, self.batch.inverse_N, self.first, -1 - self.begin, part)
        if not isinstance(self.at, slice):
            rows_N[self.at] = part

    def now(self) -> Piece:
        """The same ids with the rows that they have now."""
        return replace(self, rows_U=self.table.still(self.batch, self.rows_U >= 0))


class Found:
    """The rows of a call's ids in this process, below zero where there is none."""

    def __init__(self, pieces: Sequence[Piece], n: int) -> None:
        self._pieces = pieces
        self.rows_N = np.empty(n, np.int64)
        for piece in pieces:
            piece.write(self.rows_N)

    def changed(self) -> bool:
        """Whether ids went since."""
        return any(piece.table.removals != piece.removals for piece in self._pieces)

    def now(self) -> Found:
        """The same ids with the rows that they have now; ids that lost theirs are counted."""
        return Found([piece.now() for piece in self._pieces], len(self.rows_N))

    def learned(self) -> None:
        """Note the rows as changed by a step of the optimizer."""
        for piece in self._pieces:
            if (piece.rows_U >= 0).any():
                piece.table.rows.step += 1
                piece.table.changes.mark(piece.rows_U)
