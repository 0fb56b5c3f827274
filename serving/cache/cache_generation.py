"""One generation of the row cache, in which rows are added and overwritten but never moved.

Shape suffixes: N ids of one table, U distinct ids, R rows, D embedding dimension.
"""

from __future__ import annotations

import numpy as np

from embedding.ids.id_table import IdTable
from serving.cache.row_store import Bools, Dims, EmbeddingRows, Floats, Ids

_NEVER = 0
"""The minute of every sighting: a generation is dropped as a whole, so nothing in it needs a clock."""


class CacheGeneration:
    """Rows of all tables, at most `capacity` of them. Not thread-safe."""

    def __init__(self, capacity: int, dims: Dims) -> None:
        self.used = 0
        self._capacity = capacity
        self._dims = dims
        self._tables: dict[str, _TableRows] = {}

    def missing(self, table: str, ids_N: Ids) -> Bools:
        """Mask of the ids that are not here."""
        rows = self._tables.get(table)
        return np.ones(len(ids_N), np.bool_) if rows is None else rows.ids.find(ids_N) < 0

    def get(self, table: str, ids_N: Ids) -> tuple[EmbeddingRows, Bools]:
        """Copies of the rows, zeros where an id is missing, and which ids are missing."""
        rows = self._tables.get(table)
        if rows is None:
            nothing = EmbeddingRows(
                np.zeros((len(ids_N), self._dims[table]), np.float32), np.zeros(len(ids_N), np.bool_)
            )
            return nothing, np.ones(len(ids_N), np.bool_)
        return rows.get(ids_N)

    def insert(self, table: str, ids_U: Ids, values_UD: Floats, found_U: Bools) -> None:
        """Add distinct ids that are not here; the caller ensures that they fit."""
        rows = self._tables.get(table)
        if rows is None:
            rows = self._tables[table] = _TableRows(self._capacity, self._dims[table])
        at_U, _ = rows.ids.find_or_insert(ids_U, _NEVER)
        rows.values_RD[at_U] = values_UD
        rows.found_R[at_U] = found_U
        self.used += len(ids_U)

    def overwrite(self, table: str, ids_U: Ids, values_UD: Floats) -> None:
        """Replace the rows of the ids that are here."""
        rows = self._tables.get(table)
        if rows is not None:
            at_U = rows.ids.find(ids_U)
            here_U = at_U >= 0
            rows.values_RD[at_U[here_U]] = values_UD[here_U]
            rows.found_R[at_U[here_U]] = True

    def forget(self, table: str, ids_U: Ids) -> None:
        """Mark ids that are here as having no row."""
        rows = self._tables.get(table)
        if rows is not None:
            at_U = rows.ids.find(ids_U)
            at_U = at_U[at_U >= 0]
            rows.values_RD[at_U] = 0
            rows.found_R[at_U] = False


class _TableRows:
    """One table's ids and rows; memory is allocated as rows are written."""

    def __init__(self, capacity: int, dim: int) -> None:
        self.ids = IdTable(capacity, huge=False)  # a generation has one per table, none of them full
        self.values_RD = np.empty((capacity, dim), np.float32)
        self.found_R = np.empty(capacity, np.bool_)

    def get(self, ids_N: Ids) -> tuple[EmbeddingRows, Bools]:
        at_N = self.ids.find(ids_N)
        missing_N = at_N < 0
        values_ND = self.values_RD.take(at_N, axis=0, mode="wrap")
        found_N = self.found_R.take(at_N, mode="wrap")
        if missing_N.any():
            values_ND[missing_N] = 0
            found_N[missing_N] = False
        return EmbeddingRows(values_ND, found_N), missing_N
