"""The embedding store's seam: what every store promises, and the types that cross it.

Shape suffixes: N ids of one call, U distinct ids, D embedding dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Index = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The sparse update rule of a table."""

    kind: Literal["rowwise_adagrad", "adagrad", "adam", "ftrl"] = "rowwise_adagrad"
    lr: float = 0.02
    eps: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)
    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True, slots=True)
class Admission:
    """When a new id gets a row: at once, when seen `threshold` times, or by Monolith's probabilistic rule."""

    kind: Literal["always", "count", "probabilistic"] = "always"
    threshold: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store. `ttl` is in milliseconds of event time; None means that ids never expire."""

    name: str
    dim: int
    capacity: int = 1 << 20
    """Most live rows; at the bound expired ids go first, then the coldest."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    admission: Admission = field(default_factory=Admission)
    ttl: int | None = None
    init_scale: float = 0.01
    """A new row is uniform in [-init_scale, init_scale], drawn from hash(seed, table, id)."""
    fallback: Literal["zeros", "multiplexed"] = "zeros"
    """What ids without a row read."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Rows read for one table. `values_ND` is a copy; `rows_N` is -1 where the id has no row."""

    table: str
    ids_N: Ids
    rows_N: Rows
    values_ND: Floats


@dataclass(frozen=True, slots=True)
class TableDelta:
    """Rows of one table that changed (ids with their values), and tombstones of ids that are gone."""

    ids_U: Ids
    values_UD: Floats
    removed: Ids


@dataclass(frozen=True, slots=True)
class Fallback:
    """What ids without a row read: row `hashing.fallback_slots(id, salt, slots)` of the delta's table `rows`."""

    rows: str
    salt: int
    slots: int


@dataclass(frozen=True, slots=True)
class Delta:
    """All changes since the consumer's last acknowledgement. `full` means: forget everything before this one."""

    sequence: int
    full: bool
    tables: dict[str, TableDelta]
    """Changes of the store's tables, and of the rows that ids without one share: see `fallback`."""
    fallback: dict[str, Fallback] = field(default_factory=dict)
    """By table; ids of the others read zeros. The same in all deltas until the next full one."""


class EmbeddingStore(Protocol):
    """Rows for 64-bit ids. Invariant: two live ids never share a row, and every id not trained is counted."""

    @property
    def tables(self) -> dict[str, Table]: ...

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        """Read rows for training at event time `now` (ms): counts, admits, touches. Ids may repeat."""
        ...

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        """Read rows without changing anything: for evaluation and export."""
        ...

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        """One optimizer step; gradients of an id that repeats are summed first (as in PyTorch's sparse Adagrad)."""
        ...

    def expire(self, now: int) -> int:
        """Drop ids not seen within their table's ttl; their ids become tombstones. Returns how many went."""
        ...

    def subscribe(self, consumer: str) -> None:
        """Start tracking changes for `consumer`; its first delta is full. Subscribing again asks for a full resync."""
        ...

    def delta(self, consumer: str) -> Delta:
        """Changes not yet acknowledged by `consumer`; the same again until it acknowledges."""
        ...

    def acknowledge(self, consumer: str, sequence: int) -> None: ...

    def save(self, folder: Path) -> None:
        """Write everything (rows, optimizer state, id tables, clocks, counters, consumers) as safetensors, fsynced."""
        ...

    def load(self, folder: Path) -> None:
        """Replace this store's state. Raises ValueError naming the file when it is torn or of other tables."""
        ...

    def digest(self) -> str:
        """Hash of all ids, rows and optimizer state, independent of row numbers and of insertion order."""
        ...

    def counters(self, table: str) -> dict[str, int]:
        """live, admitted, unadmitted (lookups of ids without a row), expired, evicted, rows, bytes, ..."""
        ...
