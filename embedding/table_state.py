"""The state of a table by id, as snapshots hold it.

Suffixes: U ids of a table, D dimension, W floats of optimizer state per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.hashing import eviction_draw, eviction_ties
from embedding.store import Floats, Ids

Arrays = dict[str, npt.NDArray[Any]]
Columns = tuple[npt.NDArray[Any], ...]
"""Ids [U], last seen [U], frequencies [U], weights [U, D] and optimizer states [U, W] of some ids."""
_NAMES = ("ids_U", "seen_U", "freq_U", "weights_UD", "state_UW")


@dataclass(slots=True)
class TableState:
    """Everything about one table, by id. `seen_U` is in minutes, `state_UW` as the table's optimizer keeps it.

    >>> from embedding.local.store import LocalStore
    >>> from embedding.store import Table
    >>> store = LocalStore([Table("item", dim=4)])
    >>> _ = store.lookup("item", np.array([7], np.uint64), now=0)
    >>> _ = store.lookup("item", np.array([8], np.uint64), now=600_000)
    >>> state = store.state().tables["item"]
    >>> newest = state.take(state.evicted_last(1))
    >>> newest.ids_U.tolist(), newest.seen_U.tolist()
    ([8], [10])
    """

    ids_U: Ids
    seen_U: npt.NDArray[np.int64]
    freq_U: npt.NDArray[np.uint8]
    weights_UD: Floats
    state_UW: Floats
    step: int
    """Updates so far (Adam's t), those without a row to change among them."""
    lookups: int
    """Training look-ups so far (the step of the probabilistic admission policy)."""
    counters: dict[str, int]
    admission: list[Arrays]
    """The admission policy's state in each process that had a part of the table; empty if it cannot be restored."""

    def columns(self) -> Columns:
        """The five arrays that have an entry per id."""
        return self.ids_U, self.seen_U, self.freq_U, self.weights_UD, self.state_UW

    def take(self, order: npt.NDArray[Any]) -> TableState:
        """The same with the ids at these positions only, or where a mask is true, in this order."""
        return self.holding([column[order] for column in self.columns()])

    def holding(self, columns: Sequence[Any]) -> TableState:
        """The same with other ids, by their five arrays."""
        return replace(self, **dict(zip(_NAMES, columns, strict=True)))

    @staticmethod
    def concat(parts: Sequence[TableState]) -> TableState:
        """One table of the ids of all parts. Counters add up; `step` and `lookups` are the largest of any part."""
        columns = [np.concatenate(column) for column in zip(*(part.columns() for part in parts), strict=True)]
        counters: dict[str, int] = {}
        for part in parts:
            for name, count in part.counters.items():
                counters[name] = counters.get(name, 0) + count
        return replace(
            parts[0],
            step=max(part.step for part in parts),
            lookups=max(part.lookups for part in parts),
            counters=counters,
            admission=[each for part in parts for each in part.admission],
            **dict(zip(_NAMES, columns, strict=True)),
        )

    def evicted_last(self, n: int) -> npt.NDArray[np.int64]:
        """Positions, ascending, of the n ids that would be evicted last; all if there are fewer."""
        if len(self.ids_U) <= n:
            return np.arange(len(self.ids_U))
        ties_U = eviction_ties(self.ids_U, eviction_draw(self.counters.get("evicted", 0), n))
        return np.sort(np.lexsort((ties_U, self.freq_U, self.seen_U))[len(self.ids_U) - n :])

    def ordered(self) -> TableState:
        """The same with ids ascending."""
        return self.take(np.argsort(self.ids_U))
