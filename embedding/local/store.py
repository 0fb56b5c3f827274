"""The embedding store on one machine's CPU: what training uses. Suffixes: N ids, D dimension."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedding.delta.consumers import Consumers
from embedding.local.shared_rows import SharedRows
from embedding.local.table import LocalTable
from embedding.multiplexed import fallbacks, group_of, shared_tables
from embedding.snapshot import snapshot
from embedding.snapshot.background import Saving
from embedding.snapshot.consumer_state import ConsumerState
from embedding.snapshot.resharding import reshard
from embedding.snapshot.snapshot import Contents, StoreState, TableStream
from embedding.store import Delta, Floats, Ids, Lookup, Table, TableDelta
from embedding.validation import check_table_name, check_time, contiguous_grads, contiguous_ids, tables_by_name


class LocalStore:
    """An `EmbeddingStore` in Numba kernels: rows take memory as ids come, up to each table's capacity.

    Safe to read from other threads while one trains: tables lock one by one.

    >>> import numpy as np
    >>> store = LocalStore([Table("item", dim=4)])
    >>> found = store.lookup("item", np.array([1, 2, 1], np.uint64), now=0)
    >>> store.update(found, np.ones((3, 4), np.float32))
    >>> store.counters("item")["live"]
    2
    """

    def __init__(self, tables: Iterable[Table], seed: int = 0, threads: int = 1) -> None:
        self._tables = tables_by_name(tables)
        self._seed, self._threads = seed, threads
        self._clear()

    def _clear(self) -> None:
        tables = self._tables.values()
        self._fallback = {group: SharedRows(table, self._seed) for group, table in shared_tables(tables).items()}
        self._by_name = {table.name: self._table(table) for table in tables}
        self._followed: dict[str, LocalTable | SharedRows] = {**self._by_name, **self._fallback}
        """Everything whose changes consumers are told."""
        self._consumers = Consumers(fallbacks(tables, self._seed))

    def _table(self, table: Table) -> LocalTable:
        shared = self._fallback[group_of(table)] if table.fallback == "multiplexed" else None
        return LocalTable(table, self._seed, shared, self._threads)

    @property
    def tables(self) -> dict[str, Table]:
        return dict(self._tables)

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        check_table_name(self._tables, table)
        check_time(now)
        return self._by_name[table].lookup(contiguous_ids(table, ids_N), now)

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        check_table_name(self._tables, table)
        return self._by_name[table].peek(contiguous_ids(table, ids_N))

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        check_table_name(self._tables, lookup.table)
        self._by_name[lookup.table].update(lookup, contiguous_grads(lookup, grads_ND, self._tables[lookup.table].dim))

    def expire(self, now: int) -> int:
        return sum(self.expiring(now))

    def expiring(self, now: int) -> Iterator[int]:
        """As `expire`, in steps of at most a millisecond or so between which the store may be used: yields how many."""
        check_time(now)
        for own in self._by_name.values():
            yield from own.expiring(now)

    def shrinking(self) -> Iterator[int]:
        """Give back id table memory that a fuller past needed, in steps as short: yields the bytes."""
        for own in self._by_name.values():
            yield from own.shrinking()

    def subscribe(self, consumer: str) -> None:
        self._consumers.subscribe(consumer)
        for own in self._followed.values():
            with own.lock:
                own.changes.listen(consumer)

    def delta(self, consumer: str) -> Delta:
        overdue = [own.changes.overdue(consumer) for own in self._followed.values() if consumer in self._consumers]
        if self._consumers[consumer].pending is None and any(overdue):
            self._consumers.subscribe(consumer)
        return self._consumers.delta(consumer, lambda full: self._take_changes(consumer, full))

    def _take_changes(self, consumer: str, full: bool) -> dict[str, TableDelta]:
        return {name: TableDelta(*own.take_changes(consumer, full)) for name, own in self._followed.items()}

    def acknowledge(self, consumer: str, sequence: int) -> None:
        self._consumers.acknowledge(consumer, sequence)

    def _consumer_states(self) -> dict[str, ConsumerState]:
        consumers = {}
        for name in self._consumers:
            overdue = any(own.changes.overdue(name) for own in self._followed.values())
            consumer = self._consumers[name]
            entry = consumers[name] = ConsumerState(replace(consumer, full=consumer.full or overdue))
            for table, own in self._followed.items():
                entry.changed[table], entry.removed[table] = own.pending(name)
        return consumers

    def _shared_states(self) -> dict[str, tuple[Floats, Floats, int]]:
        return {name: rows.state() for name, rows in self._fallback.items()}

    def state(self) -> StoreState:
        """Everything, by id, in memory."""
        tables = {name: own.state() for name, own in self._by_name.items()}
        return StoreState(tables, self._shared_states(), self._consumer_states())

    def save(self, folder: Path | str) -> None:
        self.save_in_background(folder).wait()

    def save_in_background(self, folder: Path | str) -> Saving:
        """Write the store as it is now while training goes on; rows about to change are copied first.

        Raises ValueError while another snapshot is being written.
        """
        tables: dict[str, TableStream] = {}
        try:
            for name, own in self._by_name.items():
                tables[name] = own.stream()
        except ValueError:
            self._end_streams(tables)
            raise
        contents = Contents(tables, self._shared_states(), self._consumer_states())

        def write() -> None:
            try:
                snapshot.save(folder, self._tables, self._seed, contents)
            finally:
                self._end_streams(tables)

        return Saving(write)

    def _end_streams(self, names: Iterable[str]) -> None:
        for name in names:
            self._by_name[name].close_stream()

    def load(self, folder: Path | str | Sequence[Path], shard: int = 0, shards: int = 1) -> None:
        """Replace this store's state by a snapshot, or by shard `shard` of `shards` of what several snapshots hold.

        Raises ValueError naming the file when one is torn or of other tables; nothing has changed then.
        """
        folders = [folder] if isinstance(folder, Path | str) else folder
        state = reshard([snapshot.load(each, self._tables, self._seed) for each in folders], shard, shards)
        self._clear()
        left_out = {name: own.restore(state.tables[name]) for name, own in self._by_name.items()}
        for name, shared in state.fallback.items():
            self._fallback[name].restore(*shared)
        for name, entry in state.consumers.items():
            self._consumers.restore(name, entry.consumer)
            for table, followed in self._followed.items():
                removed = np.append(entry.removed[table], left_out.get(table, np.zeros(0, np.uint64)))
                followed.resume(name, entry.changed[table], removed)

    def digest(self) -> str:
        return snapshot.digest(self.state())

    def counters(self, table: str) -> dict[str, int]:
        check_table_name(self._tables, table)
        return self._by_name[table].counters()
