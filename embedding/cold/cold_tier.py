"""The rows of one table that memory has no room for. Suffixes: U distinct ids, D dimension, W floats of state a row."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.cold.sealed_rows import SealedRows
from embedding.ids.admission import Mask
from embedding.ids.id_table import IdTable
from embedding.ids.packed import Entries
from embedding.mapped_arrays import mapped_zeros
from embedding.rows.row_block import RowArrays
from embedding.snapshot.copy_on_write import UndoLog
from embedding.store import Floats, Ids, Index, Table
from embedding.table_state import TableState
from recsys.errors import InvalidValueError, file_errors


class ColdTier:
    """Ids with their rows, optimizer states, clocks and frequencies, in files of `folder`. Not thread-safe.

    There is room for all rows of the table, so that those of memory may always move here.

    >>> import tempfile
    >>> from embedding.rows.row_block import RowBlock
    >>> from embedding.store import Optimizer
    >>> block = RowBlock(2, 1, Optimizer(), np.uint64(0), 0.01)
    >>> block.weights[:] = 1
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tier = ColdTier(Table("item", dim=1, capacity=2, cold_capacity=6), Path(folder), width=1)
    ...     entries = Entries(np.zeros(1, np.int32), np.array([100]), np.array([2], np.uint8))
    ...     _ = tier.put(np.array([7], np.uint64), entries, block)
    ...     here, back, weights_UD, _ = tier.take(np.array([7, 8], np.uint64))
    ...     len(tier), here.tolist(), back.minutes_U.tolist(), weights_UD.tolist()
    (0, [True, False], [100], [[1.0]])
    """

    def __init__(self, table: Table, folder: Path, width: int) -> None:
        self.capacity = table.total_capacity
        self.folder = folder
        with file_errors("the folder of rows on disk", folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.ids = IdTable(self.capacity, zeros=partial(_zeros, folder))
        self.rows = SealedRows(folder, self.capacity, table.dim, width)
        self._undo: UndoLog | None = None
        self._process = os.getpid()

    def _check_process(self) -> None:
        """A fork has memory of its own, but shares files: it would write over the rows of the other process."""
        if os.getpid() != self._process:
            raise InvalidValueError(
                f"this table's rows on disk are those of process {self._process}, which was forked: make a store, and "
                "load a snapshot, in the process that uses it"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return self.rows.state.nbytes + self.ids.segments.table.nbytes + 4 * self.capacity

    def put(self, ids_U: Ids, entries: Entries, rows: RowArrays) -> Index:
        """Add ids that are not here, of `rows` in memory; returns their rows on disk."""
        self._check_process()
        rows_U = self.ids.put(ids_U, entries.minutes_U, entries.freqs_U)
        if self._undo is not None:
            self._undo.keep(rows_U)
        self.rows.put(rows_U, ids_U, rows.weights, rows.state, entries.rows_U)
        return rows_U

    def take(self, ids_N: Ids) -> tuple[Mask, Entries, Floats, Floats]:
        """Remove distinct ids. Returns which of them were here, and entries, weights and states of these."""
        self._check_process()
        here_N, entries = self.ids.take(ids_N)
        _, weights_UD, state_UW = self.rows.read(entries.rows_U, ids_N[here_N])
        return here_N, entries, weights_UD, state_UW

    def restore(self, part: TableState) -> None:
        """Add ids of a snapshot."""
        rows_U = self.ids.restore(part.ids_U, part.seen_U, part.freq_U)
        every = np.arange(len(rows_U), dtype=np.int32)
        self.rows.put(rows_U, part.ids_U, part.weights_UD, part.state_UW, every)

    def entries(self) -> tuple[Ids, Entries]:
        """All ids and what they have."""
        ids_U, packed_U = self.ids.entries()
        return ids_U, self.ids.unpack(packed_U)

    def freeze(self) -> Callable[[Index], tuple[Floats, Floats]]:
        """Keep rows as they are now until `thaw`. Returns what reads them, in ascending order."""
        undo = self._undo = UndoLog(self.rows, self.capacity)
        return lambda rows_U: self.rows.opened(undo.read(rows_U)[1])[1:]

    def thaw(self) -> None:
        """Stop keeping old rows."""
        self._undo = None


def _zeros(folder: Path, n: int, dtype: npt.DTypeLike, huge: bool = True) -> npt.NDArray[Any]:  # noqa: ARG001
    """As `lazy_zeros`, in a file."""
    return mapped_zeros(folder, n, dtype)
