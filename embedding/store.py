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
RowNumbers = npt.NDArray[np.int64]
Index = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


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
    l2: float = 0.0


@dataclass(frozen=True, slots=True)
class Admission:
    """When a new id gets a row: at once, when seen `threshold` times, or by Monolith's probabilistic rule.

    >>> from embedding.local.store import LocalStore
    >>> store = LocalStore([Table("item", dim=4, admission=Admission("count", threshold=2))])
    >>> [int(store.lookup("item", np.array([7], np.uint64), now=0).rows_N[0]) for _ in range(3)]
    [-1, 0, 0]
    """

    kind: Literal["always", "count", "probabilistic"] = "always"
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
    """RowNumbers read for one table. `values_ND` is a copy; `rows_N` is -1 where the id has no row.

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
    """Rows of one table that changed (ids with their values), and tombstones of ids that are gone.

    >>> cut = TableDelta(np.array([7], np.uint64), np.ones((1, 4), np.float32), removed=np.array([8], np.uint64))
    >>> rows = {8: [0.0] * 4} | dict(zip(cut.ids_U.tolist(), cut.values_UD.tolist()))
    >>> [key for key in rows if key not in cut.removed.tolist()]
    [7]
    """

    ids_U: Ids
    values_UD: Floats
    removed: Ids


@dataclass(frozen=True, slots=True)
class Fallback:
    """What ids without a row read: row `hashing.fallback_slots(id, salt, slots)` of the delta's table `rows`.

    >>> Fallback("fallback.16.1f3a9c02", salt=7, slots=4096).slots
    4096
    """

    rows: str
    salt: int
    slots: int


@dataclass(frozen=True, slots=True)
class Delta:
    """All changes since the consumer's last acknowledgement. `full` means: forget everything before this one.

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
    """Changes of the store's tables, and of the rows that ids without one share: see `fallback`."""
    fallback: dict[str, Fallback] = field(default_factory=dict)
    """By table; ids of the others read zeros. The same in all deltas until the next full one."""


class EmbeddingStore(Protocol):
    """Rows for 64-bit ids. Invariant: two live ids never share a row, and every id not trained is counted.

    What cannot be meant (a table that is unknown, ids that are not uint64 [N], gradients that are not float32 [N, D], a
    time before 1970) is an InvalidValueError before anything changes.

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

    def acknowledge(self, consumer: str, sequence: int) -> None:
        """Delta `sequence` arrived: the next one is new. Raises InvalidValueError for a number never handed out."""
        ...

    def save(self, folder: Path | str) -> None:
        """Write everything (rows, optimizer state, id tables, clocks, counters, consumers) as safetensors, fsynced."""
        ...

    def load(self, folder: Path | str) -> None:
        """Replace this store's state. Raises InvalidValueError naming the file when it is torn or of other tables."""
        ...

    def digest(self) -> str:
        """Hash of all ids, rows and optimizer state, independent of row numbers and of insertion order."""
        ...

    def counters(self, table: str) -> dict[str, int]:
        """live, admitted, unadmitted (lookups of ids without a row), expired, evicted, rows, bytes, ..."""
        ...
