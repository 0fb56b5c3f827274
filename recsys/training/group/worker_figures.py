"""What each process of a group says of itself."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import numpy as np

from embedding.store import Table
from embedding.torchrec.processes.ranks import Ranks


class DividedStore(Protocol):
    """A store of which each process has a part."""

    @property
    def tables(self) -> Mapping[str, Table]: ...

    def own_counters(self, table: str) -> dict[str, int]:
        """As `EmbeddingStore.counters`, of this process's rows alone."""
        ...


class WorkerFigures:
    """Figures of this process since it started, beside those of the others: by worker in the trainer's status.

    `clock` gives seconds.
    """

    def __init__(self, store: DividedStore, ranks: Ranks, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._ranks, self._clock = store, ranks, clock
        self._started = clock()
        self._rows = 0
        self._waited = 0.0

    def learned(self, rows: int) -> None:
        """Count this process's share of the rows of a batch."""
        self._rows += rows * (self._ranks.rank + 1) // self._ranks.size - rows * self._ranks.rank // self._ranks.size

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as spent in waiting for what to do."""
        since = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - since

    def of_all(self) -> dict[str, dict[str, Any]]:
        """Figures by worker, by name. Collective.

        `rows` it learned from, `rows_per_second`, `waiting_seconds` for the first worker, which waits for none;
        `tables` with the counters of its rows. After a restart the counts of all before are with worker 0.
        """
        own = np.frombuffer(msgspec.json.encode(self._own()), np.uint8)
        return {str(rank): msgspec.json.decode(said.tobytes()) for rank, said in enumerate(self._ranks.gather(own))}

    def _own(self) -> dict[str, Any]:
        seconds = max(self._clock() - self._started, 1e-9)
        return {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "rows": self._rows,
            "rows_per_second": self._rows / seconds,
            "waiting_seconds": self._waited,
            "tables": {table: self._store.own_counters(table) for table in self._store.tables},
        }
