"""Undoing a fused optimizer step where it made a row NaN or infinite. Suffixes: U distinct ids, D dimension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from embedding.torchrec.rows.resolved_rows import TableRows

_HARMLESS = 1e15
"""The square of a gradient below it is lost in rounding before a sum of such squares reaches infinity."""


def harmless(grads: Iterable[torch.Tensor], weights: Iterable[torch.Tensor], ids: int) -> bool:
    """Whether a step of `ids` ids on float32 rows stays finite. `weights` are those of ids in their bags."""
    largest = max((_bound(grad) for grad in grads), default=0.0)
    return largest * max([1.0, *map(_bound, weights)]) * max(1, ids) < _HARMLESS  # not so for NaN


def _bound(values: torch.Tensor) -> float:
    """No value is larger: the norm, which takes one quick pass. NaN if any value is."""
    return float(torch.linalg.vector_norm(values))


class RowCopies:
    """Weights and optimizer state of the rows that a step is about to change.

    >>> from embedding.ids.id_lifecycle import TableIds
    >>> from embedding.store import Table
    >>> from embedding.torchrec.rows.fbgemm_rows import FbgemmRows
    >>> table, weights_RD = Table("film", dim=4, capacity=8), torch.zeros(8, 4)
    >>> ids = TableIds(table, 0, FbgemmRows(weights_RD, [torch.zeros(8)], table, seed=0))
    >>> distinct, rows_U = ids.lookup_and_touch(np.array([7, 8], np.uint64), now=0)
    >>> copies = RowCopies([TableRows(ids, slice(0, 2), 0, distinct, rows_U, ids.removals)])
    >>> weights_RD[int(rows_U[0])] = torch.nan
    >>> copies.undo()
    >>> bool(weights_RD.isfinite().all()), ids.counters()["nonfinite"]
    (True, 1)
    """

    def __init__(self, pieces: Sequence[TableRows]) -> None:
        self._kept = []
        for piece in pieces:
            rows_U = piece.rows_U[piece.rows_U >= 0]
            memory = piece.table.rows
            self._kept.append((piece.table, rows_U, memory.values(rows_U), memory.states(rows_U)))

    def undo(self) -> None:
        """Put back the rows that are no longer finite, and count them."""
        for table, rows_U, values_UD, states_UW in self._kept:
            finite_U = np.isfinite(table.rows.values(rows_U)).all(axis=1)
            bad_U = ~(finite_U & np.isfinite(table.rows.states(rows_U)).all(axis=1))
            table.rows.put(rows_U[bad_U], values_UD[bad_U], states_UW[bad_U])
            table.count_nonfinite(int(bad_U.sum()))
