"""The interface of embedding stores, and the types that it uses.

Shape suffixes: N ids of one call, U distinct ids, D embedding dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
RowNumbers = npt.NDArray[np.int64]
"""Numbers of embedding rows, -1 for an id without one."""
Index = npt.NDArray[np.int32]
"""Positions, counts, or numbers of embedding rows, inside a store."""
Floats = npt.NDArray[np.float32]


INIT_SCALE = 0.01
"""The default scale of new rows."""
FALLBACK_ROWS = 1 << 12
"""The default number of multiplexed rows."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The sparse update rule of a table.

    >>> from embedding.optimizers import state_width
    >>> state_width(Optimizer("adam", lr=0.001), dim=16)
    32
    """

    kind: Literal["rowwise_adagrad", "adagrad", "adam", "ftrl"] = "rowwise_adagrad"
    lr: float = 0.02
    eps: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)
    l1: float = 0.0
    """Of FTRL alone."""
    l2: float = 0.0
    """Weight of the penalty l2 / 2 |w|^2 of each row in an update: its gradient has l2 w more, and FTRL solves with it.
    It is lazy: rows that no update names stay."""
    max_norm: float | None = None
    """Scale the gradient of an id, summed over a call, down to this Euclidean norm; None does not."""


@dataclass(frozen=True, slots=True)
class Admission:
    """When a new id gets a row: at once, when seen `threshold` times, by Monolith's probabilistic rule, or never.

    >>> from embedding.local.store import LocalStore
    >>> store = LocalStore([Table("item", dim=4, admission=Admission("count", threshold=2))])
    >>> [int(store.lookup("item", np.array([7], np.uint64), now=0).rows_N[0]) for _ in range(3)]
    [-1, 0, 0]
    """

    kind: Literal["always", "count", "probabilistic", "never"] = "always"
    threshold: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store. `ttl` is in milliseconds of event time; None means that ids never expire.

    >>> table = Table("item", dim=16, capacity=1_000_000, ttl=30 * 86_400_000)
    >>> table.capacity * (4 * (table.dim + 1) + 8 + 23.2) / 1e6  # MB when full: row, Adagrad's state, id
    99.2
    """

    name: str
    dim: int
    capacity: int = 1 << 20
    """The largest number of rows in memory. In a full table expired ids go first, then those not seen for longest."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    admission: Admission = field(default_factory=Admission)
    ttl: int | None = None
    init_scale: float = INIT_SCALE
    """A new row is uniform in [-init_scale, init_scale), from hash(seed, table, id)."""
    fallback: Literal["zeros", "multiplexed"] = "zeros"
    """What ids without a row read: zeros, or rows that several tables share (see `embedding.multiplexed`)."""
    fallback_rows: int = FALLBACK_ROWS
    """Number of these rows. Tables of one dimension and optimizer share them if they have the same number."""
    cold_capacity: int = 0
    """How many rows more are kept on disk: those that memory has no room for move there, and come back when they are
    looked up. A call then has at most `capacity` distinct ids."""

    @property
    def total_capacity(self) -> int:
        """The largest number of rows, in memory and on disk."""
        return self.capacity + self.cold_capacity

    @property
    def multiplexed(self) -> bool:
        """Whether ids without a row read multiplexed rows."""
        return self.fallback == "multiplexed"


@dataclass(frozen=True, slots=True)
class Lookup:
    """Rows read from one table. `values_ND` is a copy; `rows_N` is -1 for an id without a row.

    >>> from embedding.local.store import LocalStore
    >>> found = LocalStore([Table("item", dim=4)]).lookup("item", np.array([7, 8, 7], np.uint64), now=0)
    >>> found.rows_N.tolist(), found.values_ND.shape
    ([0, 1, 0], (3, 4))
    """

    table: str
    ids_N: Ids
    rows_N: RowNumbers
    values_ND: Floats


@dataclass(frozen=True, slots=True)
class TableDelta:
    """Changed rows of one table, by id, and tombstones: ids that were removed.

    >>> delta = TableDelta(np.array([7], np.uint64), np.ones((1, 4), np.float32), removed=np.array([8], np.uint64))
    >>> rows = {8: [0.0] * 4} | dict(zip(delta.ids_U.tolist(), delta.values_UD.tolist()))
    >>> [key for key in rows if key not in delta.removed.tolist()]
    [7]
    """

    ids_U: Ids
    values_UD: Floats
    removed: Ids


@dataclass(frozen=True, slots=True)
class Fallback:
    """What an id without a row reads: row `hashing.fallback_slots(id, salt, slots)` of the delta's table `rows`.

    >>> Fallback("fallback.16.1f3a9c02", salt=7, slots=4096).slots
    4096
    """

    rows: str
    salt: int
    slots: int


@dataclass(frozen=True, slots=True)
class Delta:
    """All changes since the consumer's last acknowledgement. If `full`, it replaces everything before it.

    >>> from embedding.local.store import LocalStore
    >>> store = LocalStore([Table("item", dim=4)])
    >>> store.subscribe("redis")
    >>> delta = store.delta("redis")
    >>> store.acknowledge("redis", delta.sequence)
    >>> _ = store.lookup("item", np.array([7], np.uint64), now=0)
    >>> delta = store.delta("redis")
    >>> delta.full, delta.sequence, delta.tables["item"].ids_U.tolist()
    (False, 2, [7])
    """

    sequence: int
    full: bool
    tables: dict[str, TableDelta]
    """Changes of the store's tables and of multiplexed rows: see `fallback`."""
    fallback: dict[str, Fallback] = field(default_factory=dict)
    """By table; ids of other tables read zeros. It stays the same until the next full delta."""
    epoch: str = ""
    """Changes with every `load`, which distinguishes deltas of the same number."""
    previous_epoch: str = ""
    """The epoch of delta `sequence - 1`, which this one continues unless it is full."""


class EmbeddingStore(Protocol):
    """Embedding rows for 64-bit ids. Two live ids never share a row, and every id not trained is counted.

    Every method raises InvalidValueError, before anything changes, for an unknown table, ids that are not uint64 [N],
    gradients that are not float32 [N, D], and times before 1970.

    >>> from embedding.local.store import LocalStore
    >>> store: EmbeddingStore = LocalStore([Table("item", dim=4, ttl=60_000)])
    >>> found = store.lookup("item", np.array([1, 2, 1], np.uint64), now=0)
    >>> store.update(found, np.ones((3, 4), np.float32))
    >>> store.expire(now=180_000), store.counters("item")["live"]
    (2, 0)
    """

    @property
    def tables(self) -> dict[str, Table]: ...

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        """Read rows for training at event time `now` (ms): counts, admits and marks ids as seen. Ids may repeat.

        A time more than a year ahead of all earlier ones must be confirmed: see `embedding.ids.event_clock`.
        """
        ...

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        """Read rows without changing anything, for evaluation and export."""
        ...

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        """One optimizer step. Gradients of a repeated id are summed first, as in PyTorch's sparse Adagrad.

        If a weight or optimizer state of a row would not be finite after it, the row is left as it was: counter
        `nonfinite`.
        """
        ...

    def expire(self, now: int) -> int:
        """Drop ids not seen within their table's ttl, which become tombstones. Returns their number."""
        ...

    def forget(self, table: str, ids_N: Ids) -> int:
        """Drop these ids at once, which become tombstones; returns how many of them had a row. They may come back."""
        ...

    def subscribe(self, consumer: str) -> None:
        """Start tracking changes for `consumer`; its first delta is full. Subscribe again for a full resync."""
        ...

    def delta(self, consumer: str) -> Delta:
        """Changes not yet acknowledged by `consumer`. Returns the same delta until it is acknowledged."""
        ...

    def acknowledge(self, consumer: str, sequence: int) -> None:
        """Acknowledge delta `sequence`. Raises InvalidValueError for a number not yet given out."""
        ...

    def save(self, folder: Path | str) -> None:
        """Write a snapshot (rows, optimizer state, ids, times, counters, consumers) as safetensors, synced to disk."""
        ...

    def load(self, folder: Path | str) -> None:
        """Restore a snapshot. Raises TornCheckpointError naming a damaged file, InvalidValueError for other tables."""
        ...

    def digest(self) -> str:
        """Hash of all ids, rows and optimizer states, independent of row numbers and of the order of insertion."""
        ...

    def counters(self, table: str) -> dict[str, int]:
        """live, admitted, unadmitted (lookups of ids without a row), expired, evicted, rows, bytes, ...

        All of them: `docs/embedding.md`.
        """
        ...
