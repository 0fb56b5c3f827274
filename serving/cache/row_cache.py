"""Cached rows, so that a request asks Redis only for ids not read recently.

Two cache generations approximate an LRU list. New and re-read ids go to the young one; when it is full, it becomes the
old one and the previous old one is dropped. So reading moves whole batches, an id read at least once per generation
stays, and memory is bounded by `capacity` rows. Ids without a row in Redis are cached too.

Shape suffixes: N ids of one table, U distinct ids, D embedding dimension.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embedding.store import TableDelta
from recsys.errors import InvalidValueError, RowsUnavailableError
from serving.cache.cache_generation import CacheGeneration
from serving.cache.fallback_rows import FallbackRowCache
from serving.cache.row_store import Bools, Dims, EmbeddingRows, Ids, RowStore


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows by table. `complete` is false when the store was unavailable: ids that are not cached then read as ids
    without a row."""

    rows: dict[str, EmbeddingRows]
    complete: bool


class RowCache:
    """A bounded cache over a `RowStore`. Many threads may read while one applies changes.

    Ids without a row read `fallback`, or zeros if that is None. It is never cached; its owner keeps it up to date.

    One lock guards every look-up and every change, so no row is seen half written. A row that was being read from the
    store while a change arrived is returned but not cached, because it may be older than the change.
    """

    def __init__(self, store: RowStore, capacity: int, fallback: FallbackRowCache | None = None) -> None:
        if capacity < 2:
            raise InvalidValueError(f"a row cache of {capacity} rows is too small: give it at least 2")
        self._store = store
        self._fallback = fallback
        self._half = capacity // 2
        self._lock = threading.Lock()
        self._changes = 0
        self.hits = 0
        self.misses = 0
        self._young = CacheGeneration(self._half, store.dims)
        self._old = CacheGeneration(1, store.dims)

    @property
    def dims(self) -> Dims:
        return self._store.dims

    def __len__(self) -> int:
        return self._young.used + self._old.used

    def read(self, ids: Mapping[str, Ids]) -> Reading:
        """Rows by table, in the order asked for; one round trip to the store when something is missing."""
        reading = self._read(ids)
        if self._fallback is not None:
            for table, ids_N in ids.items():
                self._fallback.fill(table, ids_N, reading.rows[table])
        return reading

    def _read(self, ids: Mapping[str, Ids]) -> Reading:
        rows: dict[str, EmbeddingRows] = {}
        wanted: dict[str, Ids] = {}
        with self._lock:
            changes = self._changes
            for table, ids_N in ids.items():
                rows[table], missing_N = self._cached(table, ids_N)
                misses = int(np.count_nonzero(missing_N))
                if misses:
                    wanted[table] = np.unique(ids_N[missing_N])
                self.misses += misses
                self.hits += len(ids_N) - misses
        if not wanted:
            return Reading(rows, complete=True)
        try:
            fetched = self._store.read(wanted)
        except RowsUnavailableError:
            return Reading(rows, complete=False)
        for table, ids_U in wanted.items():
            _fill(rows[table], ids[table], ids_U, fetched[table])
        with self._lock:
            if changes == self._changes:
                for table, ids_U in wanted.items():
                    self._keep(table, ids_U, fetched[table])
        return Reading(rows, complete=True)

    def apply(self, table: str, change: TableDelta) -> None:
        """Apply changed rows and tombstones to cached ids; other ids are ignored."""
        values_UD = change.values_UD
        dim = self.dims.get(table)
        if dim is None:
            return  # the model does not read this table
        if len(change.ids_U) and values_UD.shape[1] != dim:
            raise InvalidValueError(f"change of table {table!r} has dimension {values_UD.shape[1]}, the cache {dim}")
        with self._lock:
            self._changes += 1
            for generation in (self._young, self._old):
                generation.overwrite(table, change.ids_U, values_UD)
                generation.forget(table, change.removed)

    def clear(self) -> None:
        """Drop everything: rows may have changed without notice."""
        with self._lock:
            self._changes += 1
            self._young = CacheGeneration(self._half, self.dims)
            self._old = CacheGeneration(1, self.dims)

    def _cached(self, table: str, ids_N: Ids) -> tuple[EmbeddingRows, Bools]:
        """Rows that are cached, and which are not; what only the old generation holds moves to the young one."""
        rows, missing_N = self._young.get(table, ids_N)
        if missing_N.any() and self._old.used:
            old, still_N = self._old.get(table, ids_N[missing_N])
            at = np.flatnonzero(missing_N)
            rows.values_ND[at] = old.values_ND
            rows.found_N[at] = old.found_N
            moved = at[~still_N]
            if len(moved):
                ids_U, first = np.unique(ids_N[moved], return_index=True)
                self._keep(table, ids_U, EmbeddingRows(rows.values_ND[moved[first]], rows.found_N[moved[first]]))
            missing_N[moved] = False
        return rows, missing_N

    def _keep(self, table: str, ids_U: Ids, rows: EmbeddingRows) -> None:
        """Insert ids that the young generation may already have from another thread."""
        new_U = self._young.missing(table, ids_U)
        ids_U, values_UD, found_U = ids_U[new_U], rows.values_ND[new_U], rows.found_N[new_U]
        for start in range(0, len(ids_U), self._half):
            part = slice(start, start + self._half)
            if self._young.used + len(ids_U[part]) > self._half:
                self._old, self._young = self._young, CacheGeneration(self._half, self.dims)
            self._young.insert(table, ids_U[part], values_UD[part], found_U[part])


def _fill(rows: EmbeddingRows, ids_N: Ids, ids_U: Ids, fetched: EmbeddingRows) -> None:
    """Put fetched rows (sorted distinct ids) where they were asked for."""
    at_N = np.searchsorted(ids_U, ids_N).clip(max=len(ids_U) - 1)
    mine_N = ids_U[at_N] == ids_N
    rows.values_ND[mine_N] = fetched.values_ND[at_N[mine_N]]
    rows.found_N[mine_N] = fetched.found_N[at_N[mine_N]]
