"""Copy-on-write for snapshots: rows as they were when a snapshot began, while training changes them.

Suffixes: U distinct rows, D dimension, W floats of optimizer state a row.
"""

from __future__ import annotations

import numpy as np

from embedding.kernels.rows import keep
from embedding.lazy_arrays import lazy_zeros
from embedding.rows.row_block import RowArrays
from embedding.store import Floats, Index


class UndoLog:
    """The old values of rows that changed before the snapshot read them.

    The owner calls `keep` before it writes rows, and `read` in ascending order of rows, both under one lock.

    >>> from embedding.rows.row_block import RowBlock
    >>> from embedding.store import Optimizer
    >>> block = RowBlock(8, 1, Optimizer(), np.uint64(0), 0.01)
    >>> undo = UndoLog(block, capacity=8)
    >>> undo.keep(np.array([3], np.int32))
    >>> block.weights[3] = 7
    >>> undo.read(np.array([2, 3], np.int32))[0].tolist()
    [[0.0], [0.0]]
    """

    def __init__(self, block: RowArrays, capacity: int) -> None:
        self._block = block
        self._place = lazy_zeros(capacity, np.int32)  # 1 + position of a kept row, 0 if none
        self._weights = lazy_zeros(capacity * block.dim, np.float32)
        self._state = lazy_zeros(capacity * block.width, np.float32)
        self._kept, self._read_to = 0, 0

    def keep(self, rows_U: Index) -> None:
        """Keep these rows, which are about to change; -1 is ignored."""
        block = self._block
        self._kept = keep(
            block.weights,
            block.state,
            block.dim,
            block.width,
            rows_U,
            self._read_to,
            self._place,
            self._weights,
            self._state,
            self._kept,
        )

    def read(self, rows_U: Index) -> tuple[Floats, Floats]:
        """Weights [U, D] and states [U, W] of ascending rows as they were; later changes to them are not kept."""
        weights_UD, state_UW = self._block.values(rows_U), self._block.states(rows_U)
        changed = np.flatnonzero(self._place[rows_U])
        kept = self._place[rows_U[changed]] - 1
        weights_UD[changed] = _rows(self._weights, self._kept, self._block.dim)[kept]
        state_UW[changed] = _rows(self._state, self._kept, self._block.width)[kept]
        self._read_to = int(rows_U[-1]) + 1 if len(rows_U) else self._read_to
        return weights_UD, state_UW


def _rows(flat: Floats, n: int, width: int) -> Floats:
    """The first n rows, which may be of no values."""
    return flat[: n * width].reshape(n, width)
