"""The rows of one table that memory has no room for. Suffixes: U distinct ids, D dimension, W floats of state a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from embedding.cold.mapped_arrays import mapped_zeros
from embedding.cold.sealed_rows import SealedRows
from embedding.ids.id_table import IdTable
from embedding.ids.packed import Entries
from embedding.snapshot.copy_on_write import UndoLog
from embedding.store import Floats, Ids, Index, Table
from embedding.table_state import TableState


class ColdTier:
    """Ids with their rows, optimizer states, clocks and frequencies, in files of `folder`. Not thread-safe.

    There is room for all rows of the table, so that those of memory may always move here.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tier = ColdTier(Table("item", dim=1, capacity=2, cold_capacity=6), Path(folder), width=1)
    ...     entries = Entries(np.zeros(1, np.int32), np.array([100]), np.array([2], np.uint8))
    ...     _ = tier.put(np.array([7], np.uint64), entries, np.ones((1, 1), "f"), np.zeros((1, 1), "f"))
    ...     ids, back, weights_UD, _ = tier.take(np.array([7], np.uint64))
    ...     len(tier), ids.tolist(), back.minutes_U.tolist(), weights_UD.tolist()
    (0, [7], [100], [[1.0]])
    """

    def __init__(self, table: Table, folder: Path, width: int) -> None:
        self.capacity = table.total_capacity
        self.folder = folder
        self.ids = IdTable(self.capacity, zeros=partial(_zeros, folder))
        self.rows = SealedRows(folder, self.capacity, table.dim, width)
        self._undo: UndoLog | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return self.rows.nbytes + self.ids.segments.table.nbytes + 4 * self.capacity

    def put(self, ids_U: Ids, entries: Entries, weights_UD: Floats, state_UW: Floats) -> Index:
        """Add ids that are not here; returns their rows."""
        rows_U = self.ids.put(ids_U, entries.minutes_U, entries.freqs_U)
        if self._undo is not None:
            self._undo.keep(rows_U)
        self.rows.put(rows_U, ids_U, weights_UD, state_UW)
        return rows_U

    def take(self, ids_U: Ids) -> tuple[Ids, Entries, Floats, Floats]:
        """Remove distinct ids. Returns those that were here, in this order, and what they had."""
        ids_U, entries = self.ids.take(ids_U)
        _, weights_UD, state_UW = self.rows.read(entries.rows_U)
        return ids_U, entries, weights_UD, state_UW

    def restore(self, part: TableState) -> None:
        """Add ids of a snapshot."""
        self.rows.put(
            self.ids.restore(part.ids_U, part.seen_U, part.freq_U), part.ids_U, part.weights_UD, part.state_UW
        )

    def entries(self) -> tuple[Ids, Entries]:
        """All ids and what they have."""
        ids_U, packed_U = self.ids.entries()
        return ids_U, self.ids.unpack(packed_U)

    def freeze(self) -> Callable[[Index], tuple[Floats, Floats]]:
        """Keep rows as they are now until `thaw`. Returns what reads them, in ascending order."""
        undo = self._undo = UndoLog(self.rows, self.capacity)
        return lambda rows_U: self.rows.opened(*undo.read(rows_U))[1:]

    def thaw(self) -> None:
        """Stop keeping old rows."""
        self._undo = None


def _zeros(folder: Path, n: int, dtype: npt.DTypeLike, huge: bool = True) -> npt.NDArray[Any]:  # noqa: ARG001
    """As `lazy_zeros`, in a file."""
    return mapped_zeros(folder, n, dtype)
