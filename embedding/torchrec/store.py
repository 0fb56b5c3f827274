"""An `EmbeddingStore` on TorchRec: rows in FBGEMM's fused kernels, sharded row-wise over the processes of a group.

Suffixes: N ids of a call, B bags (N, or the most of any process), D dimension, P dimension padded for FBGEMM.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from torchrec.distributed.types import ShardingPlan

from embedding import snapshot
from embedding.admission import Mask
from embedding.checks import by_name, check_grads, check_ids, check_now, known
from embedding.consumer_state import ConsumerState
from embedding.delta import Consumers
from embedding.hashing import fallback_slots, salt_of
from embedding.local_table import FALLBACK_ROWS
from embedding.snapshot import Contents, StoreState
from embedding.store import Delta, Floats, Ids, Lookup, Rows, Table, TableDelta
from embedding.table_ids import TableIds
from embedding.torchrec import sharding, states
from embedding.torchrec.collection import ShardedCollisionFreeEmbeddingBagCollection
from embedding.torchrec.ranks import Ranks

Mode = Literal["touch", "find", "still"]


@dataclass(frozen=True, slots=True)
class TorchRecLookup(Lookup):
    """A look-up that remembers its outputs [B, P] (none once trained), so that the update need not read again."""

    outputs: list[torch.Tensor]
    owner: object
    """The store that made it, until it loads a snapshot."""


class TorchRecStore:
    """`LocalStore`'s promises inside TorchRec: `DistributedModelParallel`, planner, `KeyedJaggedTensor`, gloo or NCCL.

    On several processes every call is collective: each process gives its own ids, and the same `now`; gradients are
    summed. `delta` alone is local: it tells what changed in the rows of this process. Each process has room for six
    standard deviations more than its share of `capacity`, so that `capacity` ids fit however they fall; beyond, the
    coldest of a process go. An error in one process leaves the others waiting, as in any collective. `group` is the
    default one when None, or this process alone when there is none.
    Raises ValueError for optimizers FBGEMM lacks on the device (on CPU it has Adagrad and row-wise Adagrad).

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
        self._tables = by_name(tables)
        self._seed, self._device = seed, torch.device(device)
        self._keys = {name: f"t{i}" for i, name in enumerate(self._tables)}
        self._fallback_of = {t.name: _group(t) for t in self._tables.values() if t.fallback == "multiplexed"}
        shared = {_group(t): _shared(t) for t in reversed(self._tables.values()) if t.fallback == "multiplexed"}
        self._fallback_keys = {name: f"f{i}" for i, name in enumerate(sorted(shared))}
        everything = {self._keys[name]: table for name, table in self._tables.items()}
        everything |= {self._fallback_keys[name]: table for name, table in shared.items()}
        for table in everything.values():
            sharding.rule(table, self._device)
        self._ranks = Ranks(group, self._device)
        model = sharding.Tables(everything, seed, self._ranks.size, self._device)
        self._model = sharding.shard(model, self._ranks.group, self._device)
        self._clear()

    def _clear(self) -> None:
        self._consumers, self._owner = Consumers(), object()
        for key in self._keys.values():
            self._part(key).clear()
        for key in self._fallback_keys.values():
            self._part(key).clear()
            slots = np.arange(FALLBACK_ROWS, dtype=np.uint64)
            self._life(key).touch(slots[states.owned(self._ranks)(slots)], 0)

    def _part(self, key: str) -> ShardedCollisionFreeEmbeddingBagCollection:
        part: ShardedCollisionFreeEmbeddingBagCollection = self._model.module.parts[key]
        return part

    def _life(self, key: str) -> TableIds:
        """The ids of a table in this process."""
        return self._part(key).ids[key].tables[0]

    def _lives(self) -> dict[str, TableIds]:
        return {name: self._life(key) for name, key in self._keys.items()}

    @property
    def tables(self) -> dict[str, Table]:
        return dict(self._tables)

    @property
    def plan(self) -> ShardingPlan:
        """What TorchRec's planner chose."""
        return self._model.plan

    # reading and training

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        known(self._tables, table)
        check_now(now)
        with torch.enable_grad():
            return self._lookup(table, check_ids(table, ids_N), "touch", now)

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        known(self._tables, table)
        with torch.no_grad():
            return self._lookup(table, check_ids(table, ids_N), "find", 0)

    def _lookup(self, table: str, ids_N: Ids, mode: Mode, now: int) -> Lookup:
        output_BP, rows_N = self._read(self._keys[table], ids_N, None, mode, now)
        values_ND, outputs = self._values(table, output_BP, len(ids_N)), [output_BP]
        if table in self._fallback_of:
            outputs.append(self._read_fallback(table, ids_N, rows_N < 0))
            values_ND += self._values(table, outputs[1], len(ids_N))
        return TorchRecLookup(table, ids_N, rows_N, values_ND, outputs if mode == "touch" else [], self._owner)

    def _read(self, key: str, ids_N: Ids, wanted_N: Mask | None, mode: Mode, now: int) -> tuple[torch.Tensor, Rows]:
        """Rows of the ids (that are wanted), zeros for the others and up to B bags [B, P]; and their places [N]."""
        part = self._part(key)
        part.ids[key].mode, part.ids[key].now = mode, now
        bags = max(1, self._ranks.largest(len(ids_N)))  # gloo scatters equal parts only, FBGEMM takes no fewer than one
        features = sharding.features(ids_N, wanted_N, bags)
        answer = self._model(key, features if self._device.type == "cpu" else features.to(self._device))
        if self._ranks.size == 1:
            output_BP, found = answer.values(), part.found[0].rows_N
        else:
            output_BP, found = answer[0].values(), answer[1].values().cpu().numpy()
        if wanted_N is None:
            return output_BP, found
        rows_N = np.full(len(ids_N), -1, np.int64)
        rows_N[wanted_N] = found
        return output_BP, rows_N

    def _read_fallback(self, table: str, ids_N: Ids, lost_N: Mask) -> torch.Tensor:
        slots_N = fallback_slots(ids_N, salt_of(self._seed, table), FALLBACK_ROWS).view(np.uint64)
        return self._read(self._fallback_keys[self._fallback_of[table]], slots_N, lost_N, "find", 0)[0]

    def _values(self, table: str, output_BP: torch.Tensor, n: int) -> Floats:
        # An output is memory of its own that nothing reads again, so it is handed out as it is.
        return np.ascontiguousarray(output_BP.detach()[:n, : self._tables[table].dim].cpu().numpy())

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        known(self._tables, lookup.table)
        table = self._tables[lookup.table]
        grads_ND = check_grads(lookup, grads_ND, table.dim)
        outputs = self._outputs(lookup)
        # TorchRec takes the mean over processes, as data-parallel models do; a store's gradients add up.
        scale = self._ranks.size * sharding.gradient_scale(table)
        grads = torch.from_numpy(grads_ND if scale == 1 and grads_ND.flags.writeable else grads_ND * np.float32(scale))
        bags, padded = outputs[0].shape
        if (bags, padded) != grads_ND.shape:
            grads = torch.nn.functional.pad(grads, (0, padded - table.dim, 0, bags - len(grads)))
        torch.autograd.backward(outputs, [grads.to(self._device)] * len(outputs))

    def _outputs(self, lookup: Lookup) -> list[torch.Tensor]:
        """Outputs to differentiate: those of the look-up, or new ones for an id that had a row then and has one now."""
        if isinstance(lookup, TorchRecLookup) and lookup.owner is self._owner and lookup.outputs:
            outputs = lookup.outputs.copy()
            lookup.outputs.clear()
            return outputs
        had_N = lookup.rows_N >= 0
        with torch.enable_grad():
            outputs = [self._read(self._keys[lookup.table], lookup.ids_N, had_N, "still", 0)[0]]
            if lookup.table in self._fallback_of:
                outputs.append(self._read_fallback(lookup.table, lookup.ids_N, ~had_N))
        return outputs

    def expire(self, now: int) -> int:
        check_now(now)
        gone = sum(went for life in self._lives().values() for went in life.expiring(now))
        return self._ranks.total({"gone": gone})["gone"]

    # deltas

    def subscribe(self, consumer: str) -> None:
        self._consumers.subscribe(consumer)
        for life in self._lives().values():
            life.changes.listen(consumer)

    def delta(self, consumer: str) -> Delta:
        overdue = [life.changes.overdue(consumer) for life in self._lives().values()]
        if self._consumers[consumer].pending is None and any(overdue):
            self._consumers.subscribe(consumer)
        return self._consumers.delta(consumer, lambda full: self._cut(consumer, full))

    def _cut(self, consumer: str, full: bool) -> dict[str, TableDelta]:
        return {name: TableDelta(*life.cut(consumer, full)) for name, life in self._lives().items()}

    def acknowledge(self, consumer: str, sequence: int) -> None:
        self._consumers.acknowledge(consumer, sequence)

    # snapshots

    def state(self) -> StoreState:
        """Everything, by id, on every process."""
        tables = {name: states.joined(life.state(), self._ranks) for name, life in self._lives().items()}
        shared = {}
        for name, key in self._fallback_keys.items():
            rows = states.joined(self._life(key).state(), self._ranks).ordered()
            shared[name] = (rows.weights_UD, rows.state_UW, rows.step)
        consumers = {}
        for name in self._consumers:
            consumer, lives = self._consumers[name], self._lives()
            overdue = any(life.changes.overdue(name) for life in lives.values())
            entry = ConsumerState(replace(consumer, full=consumer.full or overdue))
            for table, life in lives.items():
                entry.changed[table], entry.removed[table] = life.pending(name)
            consumers[name] = states.joined_consumer(entry, self._ranks)
        return StoreState(tables, shared, consumers)

    def save(self, folder: Path) -> None:
        """Gathers everything to the first process, which writes the same files as the other stores.

        Raises OSError in every process when it cannot.
        """
        state, error = self.state(), None
        if self._ranks.rank == 0:
            try:
                snapshot.save(folder, self._tables, self._seed, Contents.of(state))
            except OSError as caught:
                error = caught
        failures = self._ranks.total({"failures": int(error is not None)})["failures"]
        if error is not None:
            raise error
        if failures:
            raise OSError(f"{folder}: the first process could not write the snapshot, see its error")

    def load(self, folder: Path) -> None:
        state = snapshot.load(folder, self._tables, self._seed)
        self._clear()
        lives = self._lives()
        left_out = {name: life.restore(states.dealt(state.tables[name], self._ranks)) for name, life in lives.items()}
        for name, (weights, rule_state, step) in state.fallback.items():
            rows = self._life(self._fallback_keys[name]).rows
            slots = np.arange(FALLBACK_ROWS, dtype=np.uint64)
            mine = states.owned(self._ranks)(slots)
            rows.put(self._life(self._fallback_keys[name]).ids.find(slots[mine]), weights[mine], rule_state[mine])
            rows.step = step
        for name, whole in state.consumers.items():
            entry = states.dealt_consumer(whole, self._ranks)
            self._consumers.restore(name, entry.consumer)
            for table, life in lives.items():
                life.resume(name, entry.changed[table], np.append(entry.removed[table], left_out[table]))

    def digest(self) -> str:
        return snapshot.digest(self.state())

    def counters(self, table: str) -> dict[str, int]:
        known(self._tables, table)
        return self._ranks.total(self._life(self._keys[table]).counters())


def _group(table: Table) -> str:
    return f"{table.dim}/{table.optimizer}"


def _shared(table: Table) -> Table:
    """The rows that ids without one share, across tables of a dimension and optimizer: a table of slots."""
    return Table(f"fallback/{table.dim}", table.dim, FALLBACK_ROWS, table.optimizer, init_scale=table.init_scale)
