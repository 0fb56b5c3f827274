"""One delta of a table from those of all processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from embedding.store import Delta, EmbeddingStore, TableDelta
from embedding.torchrec.processes.ranks import Ranks


def joined_delta(store: EmbeddingStore, consumer: str, ranks: Ranks) -> Delta:
    """The changes of all processes, as one store would give them. Collective.

    A delta is full in all processes or in none: where the changes of one were too many to keep, all begin anew.
    """
    own = store.delta(consumer)
    full = ranks.together(np.array([own.full]))
    if full.any() and not full.all():
        store.subscribe(consumer)
        own = store.delta(consumer)
    return replace(own, tables={name: _joined(table, ranks) for name, table in own.tables.items()})


def _joined(table: TableDelta, ranks: Ranks) -> TableDelta:
    return TableDelta(*(ranks.together(array) for array in (table.ids_U, table.values_UD, table.removed)))
