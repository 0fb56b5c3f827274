"""The ids of a training part as numbers, the most frequent first.

Shape suffixes: V ids of the vocabulary, N ids of one field, L frequency blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streaming.encode.batch import Ids, Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One number for each id of each table; ids that the training part does not have share the number `len(self)`."""

    tables: tuple[str, ...]
    tables_V: Numbers
    """The table of each id, by its place in `tables`."""
    counts_V: Numbers
    """How often each id occurs in the training part; never rises."""
    ids: dict[str, Ids]
    """By table, rising."""
    numbers: dict[str, Numbers]
    """Of the ids of the same place in `ids`."""
    table_of: dict[str, str]
    """By field."""

    def __len__(self) -> int:
        return len(self.counts_V)

    @staticmethod
    def of(spec: FeatureSpec, training: TrainingBatch) -> Vocabulary:
        """Ids of equal frequency are in the order of their tables' fields, then of the ids themselves."""
        table_of = {field.name: field.table for field in spec.sparse}
        tables = tuple(dict.fromkeys(table_of.values()))
        found = {
            table: np.unique(
                np.concatenate([training.ids[name].values for name, its in table_of.items() if its == table]),
                return_counts=True,
            )
            for table in tables
        }
        counts_V = np.concatenate([counts for _, counts in found.values()])
        tables_V = np.repeat(np.arange(len(tables)), [len(ids) for ids, _ in found.values()])
        order_V = np.argsort(-counts_V, kind="stable")
        number_V = np.empty(len(order_V), np.int64)
        number_V[order_V] = np.arange(len(order_V))
        numbers = {table: number_V[tables_V == place] for place, table in enumerate(tables)}
        ids = {table: ids for table, (ids, _) in found.items()}
        return Vocabulary(tables, tables_V[order_V], counts_V[order_V], ids, numbers, table_of)

    def numbered(self, rows: TrainingBatch) -> TrainingBatch:
        """The rows with numbers in place of ids."""
        ids = {name: Jagged(self._of(name, each.values), each.lengths_B) for name, each in rows.ids.items()}
        return replace(rows, ids=ids)

    def blocks(self, count: int) -> Numbers:
        """The frequency block [V] of each id: `count` blocks of nearly equal numbers of ids, 0 of the most frequent."""
        return np.arange(len(self)) * count // max(len(self), 1)

    def sizes(self) -> dict[str, int]:
        """Number of ids of each table."""
        return dict(zip(self.tables, np.bincount(self.tables_V, minlength=len(self.tables)).tolist(), strict=True))

    def _of(self, field: str, ids_N: Ids) -> Ids:
        known, numbers = self.ids[self.table_of[field]], self.numbers[self.table_of[field]]
        if not len(known):
            return np.full(len(ids_N), len(self), np.uint64)
        places_N = np.minimum(np.searchsorted(known, ids_N), len(known) - 1)
        return np.where(known[places_N] == ids_N, numbers[places_N], len(self)).astype(np.uint64)
