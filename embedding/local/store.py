"""The embedding store on one machine's CPU: what training uses. Suffixes: N ids, D dimension."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedding.argument_checks import check_time
from embedding.checked_tables import CheckedTables
from embedding.delta.consumers import DeltaConsumers
from embedding.local.shared_rows import SharedRows
from embedding.local.table import LocalTable
from embedding.local.tiered_table import TieredTable
from embedding.multiplexed import fallbacks, group_of, shared_tables
from embedding.sharding import HashBuckets
from embedding.snapshot.arriving import Arriving
from embedding.snapshot.background import BackgroundSave
from embedding.snapshot.consumer_state import ConsumerState, resume, state_of
from embedding.snapshot.format import load, load_known, save
from embedding.snapshot.increments import Base, Increments
from embedding.snapshot.resharding import reshard
from embedding.snapshot.snapshot_manifest import base_for
from embedding.snapshot.store_state import SavedPart, StoreState, TableStream, digest
from embedding.store import Delta, Floats, Ids, Lookup, Table, TableDelta
from embedding.table_state import TableState
from embedding.value_checks import check_float, check_folder, check_int
from recsys.errors import InvalidValueError, TornCheckpointError


class LocalStore:
    """An `EmbeddingStore` in Numba kernels: memory is taken as ids arrive, up to each table's capacity.

    Other threads may read while one trains: each table has its own lock. `threads` share the work of a look-up.
    Rows of tables with a `cold_capacity` are in files of `cold_folder`, which are gone when the process ends: snapshots
    have all rows. Raises FileError if the folder cannot be written to or its disk has no room for all of them.

    >>> import numpy as np
    >>> store = LocalStore([Table("item", dim=4)])
    >>> found = store.lookup("item", np.array([1, 2, 1], np.uint64), now=0)
    >>> store.update(found, np.ones((3, 4), np.float32))
    >>> store.counters("item")["live"]
    2
    """

    def __init__(
        self, tables: Iterable[Table], seed: int = 0, threads: int = 1, cold_folder: Path | str | None = None
    ) -> None:
        self._tables = CheckedTables(tables)
        check_int("seed", seed)
        self._seed, self._threads = seed, threads
        if cold_folder is not None:
            check_folder("cold_folder", cold_folder)
        self._cold_folder = cold_folder
        self._by_name: dict[str, LocalTable] = {}
        self._part = SavedPart()
        self._clear()

    def _clear(self) -> None:
        tables = self._tables.values()
        self._by_name.clear()  # their files go before those of new tables are made
        self._followed: dict[str, LocalTable | SharedRows] = {}
        """Everything whose changes go into deltas."""
        self._shared = {group: SharedRows(table, self._seed) for group, table in shared_tables(tables).items()}
        self._by_name |= {table.name: self._table(table) for table in tables}
        self._followed |= {**self._by_name, **self._shared}
        self._consumers = DeltaConsumers(fallbacks(tables, self._seed))
        self._saved: str | None = None
        """The hash of the last snapshot, since which the tables keep what changes."""
        self._saving: object = None

    def _table(self, table: Table) -> LocalTable:
        shared = self._shared[group_of(table)] if table.multiplexed else None
        if not table.cold_capacity:
            return LocalTable(table, self._seed, shared, self._threads)
        if self._cold_folder is None:
            raise InvalidValueError(f"table {table.name!r} has a cold_capacity: give the store a cold_folder on a disk")
        return TieredTable(table, self._seed, shared, Path(self._cold_folder), self._threads)

    @property
    def tables(self) -> dict[str, Table]:
        return dict(self._tables)

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        ids_N = self._tables.ids_at(table, ids_N, now)
        return self._by_name[table].lookup(ids_N, now)

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        ids_N = self._tables.ids(table, ids_N)
        return self._by_name[table].peek(ids_N)

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        grads_ND = self._tables.grads(lookup, grads_ND)
        self._by_name[lookup.table].update(lookup, grads_ND)

    def scale_rates(self, factor: float) -> None:
        """Multiply the learning rates of all tables by `factor` from now on, until it is set again or `load` is called.

        It is no part of a snapshot.
        """
        check_float("the factor of the learning rates", factor)
        for followed in self._followed.values():
            followed.scale_rate(factor)

    def forget(self, table: str, ids_N: Ids) -> int:
        ids_N = self._tables.ids(table, ids_N)
        return self._by_name[table].forget(ids_N)

    def expire(self, now: int) -> int:
        return sum(self.expiring(now))

    def expiring(self, now: int) -> Iterator[int]:
        """As `expire`, in steps of about a millisecond, between which the store may be used. Yields numbers of ids."""
        check_time(now)
        for own in self._by_name.values():
            yield from own.expiring(now)

    def shrinking(self) -> Iterator[int]:
        """Give back memory that id tables needed when they were fuller, in steps as short. Yields the bytes."""
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
        return {name: state_of(name, self._consumers[name], self._followed) for name in self._consumers}

    def _shared_states(self) -> dict[str, tuple[Floats, Floats, int]]:
        return {name: rows.state() for name, rows in self._shared.items()}

    def state(self) -> StoreState[TableState]:
        """The whole store, by id, in memory."""
        tables = {name: own.state() for name, own in self._by_name.items()}
        return StoreState(tables, self._shared_states(), self._consumer_states())

    def save(self, folder: Path | str, number: int | None = None) -> None:
        """Write a snapshot; `number` as in `save_in_background`.

        Raises InvalidValueError while another one is being written, OSError if the disk fails.
        """
        self.save_in_background(folder, number).result()

    def save_in_background(
        self, folder: Path | str, number: int | None = None, increments: Increments | None = None
    ) -> BackgroundSave:
        """Start writing a snapshot of the store as it is now, in a separate thread, and return.

        Every method of the store may be called meanwhile, except another save and `load`. Rows are copied before they
        change, so memory grows by at most one copy of them. Shards can be loaded together only if their saves have one
        `number`: one more than the last, unless given. With leave for `increments` it has only the rows that changed
        since the last one, if that is smaller. The snapshot is complete when `result()` returns; an error is raised
        there. Raises InvalidValueError while another snapshot is being written.
        """
        check_folder("folder", folder)
        if number is not None:
            check_int("the number of a save", number)
        base = None if increments is None else self._base(Path(folder), increments)
        self._saved, mine = None, object()
        self._saving = mine
        tables: dict[str, TableStream] = {}
        try:
            for name, own in self._by_name.items():
                tables[name] = own.stream(increment=base is not None)
        except InvalidValueError:
            self._end_streams(tables)
            raise
        self._part = replace(self._part, save=self._part.save + 1 if number is None else number)
        state = StoreState(tables, self._shared_states(), self._consumer_states(), self._part)

        def write() -> None:
            try:
                saved = save(folder, self._tables, self._seed, state, base)
                if self._saving is mine and increments is not None:
                    self._saved = saved
            finally:
                self._end_streams(tables)

        return BackgroundSave(write)

    def _base(self, folder: Path, increments: Increments) -> Base | None:
        """What an increment in `folder` builds on; None for a full snapshot. Changes are kept from now on."""
        for own in self._by_name.values():
            own.note_changes()
        if increments.base is None or self._saved is None:
            return None
        full, changed = np.sum([own.sizes() for own in self._by_name.values()], axis=0).tolist()
        try:
            base = base_for(folder, increments.base, changed)
        except TornCheckpointError:  # somebody has removed it
            return None
        fits = base.increments <= increments.most and base.added < full
        return base if fits and base.manifest == self._saved else None

    def _end_streams(self, names: Iterable[str]) -> None:
        for name in names:
            self._by_name[name].close_stream()

    def load(self, folder: Path | str | Sequence[Path], shard: int = 0, shards: int = 1) -> None:
        """Restore a snapshot, or the part that shard `shard` of `shards` owns of the snapshots of several shards.

        To restart one shard, its own snapshot is enough. The owner of an id is `HashBuckets(shards).owner`.
        Raises TornCheckpointError naming a file that is damaged, and InvalidValueError for other tables or seeds, and
        unless the snapshots are all shards of one save; the store is then unchanged.
        """
        if not isinstance(folder, Sequence):
            check_folder("folder", folder)
        folders = [folder] if isinstance(folder, Path | str) else folder
        sharding = HashBuckets(shards)
        check_int("shard", shard)
        if len(folders) == 1 and (shard, shards) == (0, 1) and self._is_new():
            self._load_in_place(folders[0])
            return
        states = [load(each, self._tables, self._seed) for each in folders]
        state = reshard(states, shard, sharding)
        self._clear()
        self._restore(state)

    def _is_new(self) -> bool:
        return not list(self._consumers) and all(own.is_new for own in self._by_name.values())

    def _load_in_place(self, folder: Path | str) -> None:
        """Load a whole snapshot into memory that no row has yet, and check it meanwhile."""
        try:
            with Arriving({name: own.rooms() for name, own in self._by_name.items()}) as arriving:
                state = load(folder, self._tables, self._seed, arriving)
                self._restore(reshard([state], 0, HashBuckets(1)))
        except BaseException:
            if not self._is_new():
                self._clear()
            raise

    def _restore(self, state: StoreState[TableState]) -> None:
        self._part = state.part
        left_out = {name: self._by_name[name].restore(table) for name, table in state.tables.items()}
        for name, shared in state.multiplexed.items():
            self._shared[name].restore(*shared)
        for name, entry in state.consumers.items():
            self._consumers.restore(name, entry.consumer)
            resume(name, entry, self._followed, left_out)

    def load_known(self, folder: Path | str) -> None:
        """Restore those tables of a snapshot that this store has too; its other tables begin anew, without consumers.

        Raises as `load` for a damaged snapshot, another seed, or a table of another dimension or optimizer.
        """
        state = load_known(folder, self._tables, self._seed)
        self._clear()
        self._restore(state)

    def digest(self) -> str:
        return digest(self.state())

    def counters(self, table: str) -> dict[str, int]:
        self._tables.check(table)
        return self._by_name[table].counters()
