"""Which users and items a model has met: ids that have an embedding row of their own.

Shape suffixes: B rows of a batch, R rows to score.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from embedding.store import EmbeddingStore
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec

Flags = Mapping[str, npt.NDArray[np.bool_]]
"""One flag per row, for `user` and `item` where a field reads their ids."""


class EmbeddedIds:
    """Asks the store, without changing it."""

    def __init__(self, spec: FeatureSpec, store: EmbeddingStore) -> None:
        self._store = store
        self._fields = {field.source: field for field in spec.sparse if field.source in ("user", "item")}

    def nothing(self, rows: int) -> dict[str, npt.NDArray[np.bool_]]:
        """Flags to fill in."""
        return {kind: np.zeros(rows, np.bool_) for kind in self._fields}

    def of(self, batch: TrainingBatch) -> Flags:
        """Whether the ids of these rows have a row now."""
        flags = {}
        for kind, field in self._fields.items():
            ids_B = batch.ids[field.name].values
            flags[kind] = self._store.peek(field.table, ids_B).rows_N >= 0
        return flags
