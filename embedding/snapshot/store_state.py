"""The state of a store by id, in memory or as a stream of parts, and its digest. Suffix: U ids of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from embedding.snapshot.consumer_state import ConsumerState
from embedding.store import Floats
from embedding.table_state import Arrays, Columns, TableState

TableT = TypeVar("TableT")


@dataclass(slots=True)
class TableStream:
    """The state of a table as parts, read one at a time while the table may change.

    >>> from embedding.local.store import LocalStore
    >>> from embedding.store import Table
    >>> store = LocalStore([Table("item", dim=4)])
    >>> _ = store.lookup("item", np.array([7, 8], np.uint64), now=0)
    >>> stream = TableStream.of(store.state().tables["item"])
    >>> stream.rows, sum(len(ids_U) for ids_U, *_ in stream.parts)
    (2, 2)
    """

    rows: int
    dim: int
    width: int
    step: int
    lookups: int
    counters: dict[str, int]
    admission: list[Arrays]
    parts: Iterator[Columns]
    changed: int | None = None
    """Of an increment: how many rows it has the values of. The parts have those, and then a mask of the ids [U]."""

    @classmethod
    def of(cls, state: TableState) -> TableStream:
        """A state in memory, as one part."""
        widths = state.weights_UD.shape[1], state.state_UW.shape[1]
        clocks = state.step, state.lookups
        return cls(len(state.ids_U), *widths, *clocks, state.counters, state.admission, iter([state.columns()]))


@dataclass(frozen=True, slots=True)
class SavedPart:
    """Which part of a store a snapshot holds: shard `shard` of `shards`, as of one of its saves.

    >>> SavedPart(shard=1, shards=3).same_save(SavedPart(shard=2, shards=3, save=7))
    False
    """

    shard: int = 0
    shards: int = 1
    lineage: str = ""
    """Identifies the snapshot that the store was divided from; empty for a whole store."""
    save: int = 0
    """The number of the save since then."""

    def same_save(self, other: SavedPart) -> bool:
        """Whether two parts were saved together."""
        return (self.shards, self.lineage, self.save) == (other.shards, other.lineage, other.save)


@dataclass(slots=True)
class StoreState(Generic[TableT]):
    """A whole store, of tables in memory (`TableState`) or as they are written (`TableStream`).

    `multiplexed` maps groups of `embedding.multiplexed` to (weights [rows, D], optimizer state [rows, W], step).

    >>> from embedding.local.store import LocalStore
    >>> from embedding.store import Table
    >>> store = LocalStore([Table("item", dim=4)])
    >>> _ = store.lookup("item", np.array([7, 8], np.uint64), now=0)
    >>> streamed(store.state()).tables["item"].rows
    2
    """

    tables: dict[str, TableT]
    multiplexed: dict[str, tuple[Floats, Floats, int]]
    consumers: dict[str, ConsumerState]
    part: SavedPart = field(default_factory=SavedPart)
    source: str = ""
    """Identifies the snapshot that the state was read from."""


def streamed(state: StoreState[TableState]) -> StoreState[TableStream]:
    """A state in memory as `format.save` takes it."""
    tables = {name: TableStream.of(table) for name, table in state.tables.items()}
    return StoreState(tables, state.multiplexed, state.consumers)


def digest(state: StoreState[TableState]) -> str:
    """SHA-256 over ids, rows, optimizer states and times; independent of the order of ids and of row numbers."""
    total = hashlib.sha256()
    for name in sorted(state.tables):
        table = state.tables[name].ordered()
        total.update(f"{name}:{len(table.ids_U)}:{table.step}".encode())
        for array in table.columns():
            total.update(np.ascontiguousarray(array).data)
    for name in sorted(state.multiplexed):
        weights, rule_state, step = state.multiplexed[name]
        total.update(f"{name}:{step}".encode())
        total.update(np.ascontiguousarray(weights).data)
        total.update(np.ascontiguousarray(rule_state).data)
    return total.hexdigest()
