"""The reference implementation of the store in plain PyTorch. Slow.

Suffixes: N ids of a call, U distinct ids, D dimension, W floats of optimizer state per row, R rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from embedding.argument_checks import BULK, MAX_FREQUENCY, MINUTE, check_fits, check_time
from embedding.checked_tables import CheckedTables
from embedding.delta.consumers import DeltaConsumers
from embedding.hashing import fallback_slots, initial_rows, salt_of
from embedding.multiplexed import every_slot, fallbacks, group_of, shared_tables
from embedding.reference.table import ReferenceRows, ReferenceTable
from embedding.sharding import HashBuckets
from embedding.snapshot.consumer_state import ConsumerState
from embedding.snapshot.format import load, save
from embedding.snapshot.resharding import reshard
from embedding.snapshot.store_state import StoreState, digest, streamed
from embedding.store import Delta, Floats, Ids, Lookup, Table, TableDelta
from embedding.table_state import TableState
from embedding.value_checks import check_int


class ReferenceStore:
    """The `EmbeddingStore` that the others are tested against; for one thread.

    >>> store = ReferenceStore([Table("item", dim=4)])
    >>> found = store.lookup("item", np.array([1, 2, 1], np.uint64), now=0)
    >>> store.update(found, np.ones((3, 4), np.float32))
    >>> store.counters("item")["live"]
    2
    """

    def __init__(self, tables: Iterable[Table], seed: int = 0) -> None:
        self._tables = CheckedTables(tables)
        check_int("seed", seed)
        self._seed = seed
        self._clear()

    def _clear(self) -> None:
        self._by_name = {name: ReferenceTable(table, self._seed) for name, table in self._tables.items()}
        self._consumers = DeltaConsumers(fallbacks(self._tables.values(), self._seed))
        self._changed: dict[str, dict[str, set[int]]] = {}
        self._removed: dict[str, dict[str, set[int]]] = {}
        self._fallback: dict[str, ReferenceRows] = {}
        for group, table in shared_tables(self._tables.values()).items():
            rows = self._fallback[group] = ReferenceRows(table.dim, table.optimizer)
            values = initial_rows(every_slot(table), table.dim, salt_of(self._seed, table.name), table.init_scale)
            empty = np.zeros((table.capacity, rows.state_RW.shape[1]), np.float32)
            rows.put(list(range(table.capacity)), values, empty)

    @property
    def tables(self) -> dict[str, Table]:
        return dict(self._tables)

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        ids_N = self._tables.ids_at(table, ids_N, now)
        own = self._by_name[table]
        ids = ids_N.tolist()
        own.lookups += 1
        if ids:
            trusted = own.clock.trusted(now)
            own.counters["ahead"] += len(ids) if trusted < now else 0
            now, minute = trusted, trusted // MINUTE
            counts = dict(Counter(ids))
            check_fits(own.table, len(counts))
            present = {key for key in counts if key in own.row_of}
            for key in present:
                own.seen[key] = max(own.seen[key], minute)
                own.freq[key] = min(MAX_FREQUENCY, own.freq[key] + counts[key])
            self._admit(own, [key for key in counts if key not in present], counts, now, present)
        return self._read(own, ids_N)

    def _admit(self, own: ReferenceTable, keys: list[int], counts: dict[int, int], now: int, pinned: set[int]) -> None:
        asked = np.array(keys, np.uint64)
        passes = own.policy.admit(asked, np.array([counts[key] for key in keys], np.int32), own.lookups)
        admitted = [key for key, passed in zip(keys, passes.tolist(), strict=True) if passed]
        room = own.table.total_capacity - len(own.row_of)
        if len(admitted) > room:
            self._drop(own, own.stale(now), "expired")
            short = len(admitted) - (own.table.total_capacity - len(own.row_of))
            if short > 0:
                self._drop(own, own.coldest(max(short, own.table.total_capacity // BULK), pinned), "evicted")
            room = own.table.total_capacity - len(own.row_of)
        granted, refused = admitted[:room], admitted[room:]
        own.add(granted, now // MINUTE, counts)
        own.policy.forget(np.array(granted, np.uint64))
        own.counters["admitted"] += len(granted)
        own.counters["refused"] += sum(counts[key] for key in refused)
        own.counters["unadmitted"] += sum(counts[key] for key in set(keys) - set(admitted))
        self._note(own.table.name, granted)

    def _drop(self, own: ReferenceTable, keys: list[int], why: str) -> None:
        own.remove(keys)
        own.counters[why] += len(keys)
        for consumer, changed in self._changed.items():
            changed[own.table.name] -= set(keys)
            self._removed[consumer][own.table.name] |= set(keys)

    def _note(self, table: str, keys: Iterable[int]) -> None:
        for consumer, changed in self._changed.items():
            changed[table].update(keys)
            self._removed[consumer][table].difference_update(keys)

    def _read(self, own: ReferenceTable, ids_N: Ids) -> Lookup:
        rows_N, values_ND = own.read(ids_N.tolist())
        lost = rows_N < 0
        if own.table.multiplexed and lost.any():
            slots = fallback_slots(ids_N[lost], own.salt, own.table.fallback_rows)
            values_ND[lost] = self._fallback[group_of(own.table)].weights_RD[slots].numpy()
        return Lookup(own.table.name, ids_N, rows_N, values_ND)

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        ids_N = self._tables.ids(table, ids_N)
        return self._read(self._by_name[table], ids_N)

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        grads = torch.from_numpy(self._tables.grads(lookup, grads_ND))
        own = self._by_name[lookup.table]
        sums: dict[int, torch.Tensor] = {}
        shared: dict[int, torch.Tensor] = {}
        slots_N = fallback_slots(lookup.ids_N, own.salt, own.table.fallback_rows).tolist()
        for i, (key, had) in enumerate(zip(lookup.ids_N.tolist(), (lookup.rows_N >= 0).tolist(), strict=True)):
            if not had:
                shared[slots_N[i]] = shared[slots_N[i]] + grads[i] if slots_N[i] in shared else grads[i]
            elif key in own.row_of:
                sums[key] = sums[key] + grads[i] if key in sums else grads[i]
            else:
                own.counters["stale"] += 1
        own.counters["nonfinite"] += own.rows.update({own.row_of[key]: grad for key, grad in sums.items()})
        self._note(own.table.name, sums)
        if own.table.multiplexed:
            own.counters["nonfinite"] += self._fallback[group_of(own.table)].update(shared)
            self._note(group_of(own.table), shared)

    def expire(self, now: int) -> int:
        check_time(now)
        gone = 0
        for own in self._by_name.values():
            keys = own.stale(now) if own.table.ttl is None else own.stale(own.clock.trusted(now))
            self._drop(own, keys, "expired")
            gone += len(keys)
        return gone

    def forget(self, table: str, ids_N: Ids) -> int:
        ids_N = self._tables.ids(table, ids_N)
        own = self._by_name[table]
        keys = [key for key in dict.fromkeys(ids_N.tolist()) if key in own.row_of]
        own.policy.forget(ids_N)
        self._drop(own, keys, "erased")
        return len(keys)

    def subscribe(self, consumer: str) -> None:
        self._consumers.subscribe(consumer)
        self._forget_changes(consumer)

    def _forget_changes(self, consumer: str) -> None:
        self._changed[consumer] = {name: set() for name in (*self._tables, *self._fallback)}
        self._removed[consumer] = {name: set() for name in (*self._tables, *self._fallback)}

    def delta(self, consumer: str) -> Delta:
        return self._consumers.delta(consumer, lambda full: self._take_changes(consumer, full))

    def _take_changes(self, consumer: str, full: bool) -> dict[str, TableDelta]:
        taken = {}
        for name, own in self._by_name.items():
            ids_U = np.array(sorted(own.row_of if full else self._changed[consumer][name]), np.uint64)
            removed = np.array([] if full else sorted(self._removed[consumer][name]), np.uint64)
            taken[name] = TableDelta(ids_U, own.read(ids_U.tolist())[1], removed)
        for group, rows in self._fallback.items():
            slots = list(range(len(rows.weights_RD))) if full else sorted(self._changed[consumer][group])
            taken[group] = TableDelta(
                np.array(slots, np.uint64), rows.weights_RD[slots].numpy(), np.zeros(0, np.uint64)
            )
        self._forget_changes(consumer)
        return taken

    def acknowledge(self, consumer: str, sequence: int) -> None:
        self._consumers.acknowledge(consumer, sequence)

    def state(self) -> StoreState[TableState]:
        """Everything, by id."""
        consumers = {
            name: ConsumerState(
                self._consumers[name],
                {table: np.array(list(keys), np.uint64) for table, keys in self._changed[name].items()},
                {table: np.array(list(keys), np.uint64) for table, keys in self._removed[name].items()},
            )
            for name in self._consumers
        }
        shared = {
            name: (rows.weights_RD.numpy(), rows.state_RW.numpy(), rows.step) for name, rows in self._fallback.items()
        }
        return StoreState({name: own.state() for name, own in self._by_name.items()}, shared, consumers)

    def save(self, folder: Path | str) -> None:
        save(folder, self._tables, self._seed, streamed(self.state()))

    def load(self, folder: Path | str) -> None:
        state = reshard([load(folder, self._tables, self._seed)], 0, HashBuckets(1))
        self._clear()
        left_out = {name: own.restore(state.tables[name]).tolist() for name, own in self._by_name.items()}
        for name, (weights, rule_state, step) in state.multiplexed.items():
            self._fallback[name].put(list(range(len(weights))), weights, rule_state)
            self._fallback[name].step = step
        for name, entry in state.consumers.items():
            self._consumers.restore(name, entry.consumer)
            for kept, arrays in ((self._changed, entry.changed), (self._removed, entry.removed)):
                kept[name] = {table: {int(key) for key in arrays[table]} for table in (*self._tables, *self._fallback)}
            for table, gone in left_out.items():
                self._changed[name][table].difference_update(gone)
                self._removed[name][table].update(gone)

    def digest(self) -> str:
        return digest(self.state())

    def counters(self, table: str) -> dict[str, int]:
        self._tables.check(table)
        own = self._by_name[table]
        names = ("admitted", "unadmitted", "refused", "expired", "evicted", "erased", "stale", "nonfinite", "ahead")
        size = own.rows.weights_RD.nbytes + own.rows.state_RW.nbytes
        return {
            "live": len(own.row_of),
            "rows": len(own.rows.weights_RD),
            "bytes": size,
            **{name: own.counters[name] for name in names},
        }
