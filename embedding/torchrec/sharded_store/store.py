"""An `EmbeddingStore` on TorchRec: rows in FBGEMM's fused kernels, sharded row-wise over the processes of a group.

Suffixes: N ids of a call, D dimension.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torchrec.distributed.types import ShardingPlan

from embedding.argument_checks import check_time
from embedding.checked_tables import CheckedTables
from embedding.delta.consumers import DeltaConsumers
from embedding.ids.id_lifecycle import TableIds
from embedding.multiplexed import every_slot, fallbacks, group_of, shared_tables
from embedding.sharding import HashBuckets
from embedding.snapshot.consumer_state import ConsumerState, resume, state_of
from embedding.snapshot.format import load, save
from embedding.snapshot.resharding import reshard
from embedding.snapshot.store_state import StoreState, digest, streamed
from embedding.store import Delta, Floats, Ids, Lookup, Table, TableDelta
from embedding.table_state import TableState
from embedding.torchrec.processes.ranks import Ranks, usable_device
from embedding.torchrec.sharded_store import sharded_model, states
from embedding.torchrec.sharded_store.table import Mode, TorchRecTable
from embedding.torchrec.sharded_store.together import read_together, trained_together
from embedding.value_checks import check_int
from recsys.errors import CheckpointError


class TorchRecStore:
    """An `EmbeddingStore` inside TorchRec: `DistributedModelParallel`, planner, `KeyedJaggedTensor`, gloo or NCCL.

    With several processes every call is collective: each process passes its own ids, and the same `now`; gradients are
    summed. Only `delta` is local: it has the changes of rows of this process. Each process has rows for six standard
    deviations more than its share of `capacity`, so that `capacity` ids fit with near certainty; a full process evicts
    its own ids. An error in one process leaves the others waiting, as in any collective. `group` None is the default
    group, or this process alone if there is none.

    A single process may read from other threads while it trains, one call at a time. Several processes may not: they
    must make their calls in the same order.
    Raises InvalidValueError for optimizers that FBGEMM does not have on the device (on CPU it has Adagrad and row-wise
    Adagrad), for a device that cannot be used, and for a group that is none.

    >>> store = TorchRecStore([Table("item", dim=4, capacity=100)])
    >>> found = store.lookup("item", np.array([1, 2, 1], np.uint64), now=0)
    >>> store.update(found, np.ones((3, 4), np.float32))
    >>> store.counters("item")["live"]
    2
    """

    def __init__(
        self,
        tables: Iterable[Table],
        seed: int = 0,
        group: dist.ProcessGroup | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self._tables = CheckedTables(tables)
        check_int("seed", seed)
        self._seed, self._device, self._lock = seed, usable_device(device), threading.RLock()
        self._shared_tables = dict(sorted(shared_tables(self._tables.values()).items()))
        parts = {f"t{i}": table for i, table in enumerate(self._tables.values())}
        parts |= {f"f{i}": table for i, table in enumerate(self._shared_tables.values())}
        for table in parts.values():
            sharded_model.rule(table, self._device)
        self._ranks = Ranks(group, self._device)
        model = sharded_model.ShardedTables(parts, seed, self._ranks.size, self._device)
        self._model = sharded_model.shard(model, self._ranks.group, self._device)
        self._clear()

    def _clear(self) -> None:
        epoch = self._ranks.together(np.array([secrets.randbits(63)]))[0]  # the first process's
        self._consumers = DeltaConsumers(fallbacks(self._tables.values(), self._seed), f"{epoch:016x}")
        where = (self._seed, self._model, self._ranks, self._device)
        self._shared = {
            name: TorchRecTable(table, f"f{i}", *where) for i, (name, table) in enumerate(self._shared_tables.items())
        }
        for shared in self._shared.values():
            shared.ids.lookup_and_touch(self._own_slots(shared), 0)
        self._by_name = {
            name: TorchRecTable(table, f"t{i}", *where, self._shared[group_of(table)] if table.multiplexed else None)
            for i, (name, table) in enumerate(self._tables.items())
        }

    def _own_slots(self, shared: TorchRecTable) -> Ids:
        """The numbers of the multiplexed rows that this process owns."""
        slots = every_slot(shared.table)
        return slots[states.owned(slots, self._ranks)]

    def _followed(self) -> dict[str, TableIds]:
        """Everything whose changes go into deltas: the tables and their multiplexed rows."""
        return {name: own.ids for name, own in (self._by_name | self._shared).items()}

    @property
    def tables(self) -> dict[str, Table]:
        return dict(self._tables)

    @property
    def plan(self) -> ShardingPlan:
        """The plan of TorchRec's planner."""
        return self._model.plan

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        ids_N = self._tables.ids_at(table, ids_N, now)
        with self._lock:
            return self._by_name[table].lookup(ids_N, now)

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        ids_N = self._tables.ids(table, ids_N)
        with self._lock:
            return self._by_name[table].peek(ids_N)

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        grads_ND = self._tables.grads(lookup, grads_ND)
        with self._lock:
            self._by_name[lookup.table].update(lookup, grads_ND)

    def lookup_each(self, ids: Mapping[str, Ids], now: int) -> dict[str, Lookup]:
        """`lookup` of several tables, whose ids travel together. The same tables in every process."""
        check_time(now)
        return self._together(ids, "lookup_and_touch", now)

    def peek_each(self, ids: Mapping[str, Ids]) -> dict[str, Lookup]:
        """`peek` of several tables, whose ids travel together. The same tables in every process."""
        return self._together(ids, "lookup", 0)

    def update_each(self, lookups: Sequence[Lookup], grads: Sequence[Floats]) -> None:
        """`update` of several tables; gradients of ids that were looked up together travel together."""
        checked = self._tables.grads_each(lookups, grads)
        with self._lock:
            if not trained_together(self._by_name, lookups, checked):
                for own, part in zip(lookups, checked, strict=True):
                    self._by_name[own.table].update(own, part)

    def _together(self, ids: Mapping[str, Ids], mode: Mode, now: int) -> dict[str, Lookup]:
        copied = self._tables.ids_by_table(ids)
        apart = self._ranks.size == 1 or any(self._tables[table].multiplexed for table in copied)
        with self._lock:
            if not apart and copied:
                return read_together(self._by_name, copied, mode, now, self._ranks)
            return {
                table: self._by_name[table].peek(ids_N) if mode == "lookup" else self._by_name[table].lookup(ids_N, now)
                for table, ids_N in copied.items()
            }

    def expire(self, now: int) -> int:
        check_time(now)
        with self._lock:
            gone = sum(went for own in self._by_name.values() for went in own.ids.expiring(now))
        return self._ranks.total({"gone": gone})["gone"]

    def forget(self, table: str, ids_N: Ids) -> int:
        """As `EmbeddingStore.forget`. Collective; every process passes the same ids."""
        ids_N = self._tables.ids(table, ids_N)
        with self._lock:
            gone = self._by_name[table].ids.forget(ids_N)
        return self._ranks.total({"gone": gone})["gone"]

    def subscribe(self, consumer: str) -> None:
        self._consumers.subscribe(consumer)
        for ids in self._followed().values():
            with ids.lock:
                ids.changes.listen(consumer)

    def delta(self, consumer: str) -> Delta:
        overdue = [ids.changes.overdue(consumer) for ids in self._followed().values()]
        if self._consumers[consumer].pending is None and any(overdue):
            self._consumers.subscribe(consumer)
        return self._consumers.delta(consumer, lambda full: self._take_changes(consumer, full))

    def _take_changes(self, consumer: str, full: bool) -> dict[str, TableDelta]:
        with self._lock:
            return {name: self._table_delta(ids, consumer, full) for name, ids in self._followed().items()}

    @staticmethod
    def _table_delta(ids: TableIds, consumer: str, full: bool) -> TableDelta:
        ids_U, values_UD, removed = ids.take_changes(consumer, full)
        return TableDelta(ids_U, values_UD + np.float32(0), removed)  # -0.0 becomes 0.0, as FBGEMM's pooling reads it

    def acknowledge(self, consumer: str, sequence: int) -> None:
        self._consumers.acknowledge(consumer, sequence)

    def state(self) -> StoreState[TableState]:
        """The whole store, by id, in every process. Collective."""
        with self._lock:
            tables = {name: states.joined(own.ids.state(), self._ranks) for name, own in self._by_name.items()}
            shared = {}
            for name, own in self._shared.items():
                rows = states.joined(own.ids.state(), self._ranks).ordered()
                shared[name] = (rows.weights_UD, rows.state_UW, rows.step)
            return StoreState(tables, shared, {name: self._consumer_state(name) for name in self._consumers})

    def _consumer_state(self, name: str) -> ConsumerState:
        return states.joined_consumer(state_of(name, self._consumers[name], self._followed()), self._ranks)

    def save(self, folder: Path | str) -> None:
        """Gather the state to the first process, which writes the same files as the other stores. Collective.

        Raises OSError in every process if it cannot.
        """
        state, error = self.state(), None
        if self._ranks.rank == 0:
            try:
                save(folder, self._tables, self._seed, streamed(state))
            except OSError as caught:
                error = caught
        failures = self._ranks.total({"failures": int(error is not None)})["failures"]
        if error is not None:
            raise error
        if failures:
            raise CheckpointError(f"{folder}: the first process could not write the snapshot, see its error")

    def load(self, folder: Path | str) -> None:
        """Restore a snapshot. Raises as `LocalStore.load`. Collective."""
        state = reshard([load(folder, self._tables, self._seed)], 0, HashBuckets(1))
        with self._lock:
            self._clear()
            left_out = {
                name: own.ids.restore(states.part_of(state.tables[name], self._ranks))
                for name, own in self._by_name.items()
            }
            for name, (weights, rule_state, step) in state.multiplexed.items():
                ids, mine = self._shared[name].ids, self._own_slots(self._shared[name])
                ids.rows.put(ids.ids.find(mine), weights[mine], rule_state[mine])
                ids.rows.step = step
            for name, whole in state.consumers.items():
                entry = states.consumer_part_of(whole, self._ranks)
                self._consumers.restore(name, entry.consumer)
                resume(name, entry, self._followed(), left_out)

    def digest(self) -> str:
        return digest(self.state())

    def counters(self, table: str) -> dict[str, int]:
        return self._ranks.total(self.own_counters(table))

    def own_counters(self, table: str) -> dict[str, int]:
        """Those of this process's rows; after `load` the first process has the counts of before."""
        self._tables.check(table)
        with self._lock:
            return self._by_name[table].ids.counters()
