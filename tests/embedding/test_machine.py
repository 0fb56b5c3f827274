"""Any sequence of operations leaves the stores equal to a plain dict, bit for bit.

Gradients are multiples of 1/4, so that sums of squares are exact and the order of adding leaves no trace.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embedding.hashing import fallback_slots, initial_rows, mix, salt_of
from embedding.local import LocalStore
from embedding.reference import ReferenceStore
from embedding.shards import shard_of
from embedding.store import Admission, Floats, Optimizer, Table

MINUTE = 60_000
TTL = 30 * MINUTE
F32 = np.float32
POOL = [0, 1, 2, 3, 2**32, 2**33, 2**63 - 1, 2**63, 2**64 - 1, *(k << 48 for k in range(1, 12)), *range(100, 112)]
TABLES = {
    "bounded": Table("bounded", 4, capacity=12, ttl=TTL, optimizer=Optimizer("adagrad", lr=0.5)),
    "counted": Table(
        "counted",
        2,
        optimizer=Optimizer("rowwise_adagrad", lr=0.5),
        admission=Admission("count", 2),
        fallback="multiplexed",
    ),
}
ids_of = st.lists(st.sampled_from(POOL), max_size=16)


class Model:
    """One table as a dict, in the plainest words."""

    def __init__(self, table: Table) -> None:
        self.table, self.salt = table, salt_of(0, table.name)
        self.weight: dict[int, Floats] = {}
        self.state: dict[int, Floats] = {}
        self.seen: dict[int, int] = {}
        self.freq: dict[int, int] = {}
        self.counts: dict[int, int] = {}
        shared = initial_rows(np.arange(4096, dtype=np.uint64), table.dim, salt_of(0, f"fallback.{table.dim}"), 0.01)
        self.shared: dict[int, Floats] = dict(enumerate(shared)) if table.fallback == "multiplexed" else {}
        self.shared_state = {slot: np.zeros(table.dim, F32) for slot in self.shared}

    def slot(self, key: int) -> int:
        return int(fallback_slots(np.array([key], np.uint64), self.salt, 4096)[0])

    def read(self, key: int) -> Floats:
        return self.weight.get(key, self.shared.get(self.slot(key), np.zeros(self.table.dim, F32)))

    def drop(self, key: int) -> None:
        for each in (self.weight, self.state, self.seen, self.freq):
            each.pop(key)

    def expire(self, now: int) -> None:
        if self.table.ttl is not None:
            for key in [key for key, seen in self.seen.items() if seen < (now - TTL) // MINUTE]:
                self.drop(key)

    def look(self, ids: list[int], now: int) -> None:
        minute, known = now // MINUTE, {key for key in ids if key in self.weight}
        for key in known:
            self.seen[key] = max(self.seen[key], minute)
            self.freq[key] += ids.count(key)
        new = []
        for key in dict.fromkeys(key for key in ids if key not in known):
            self.counts[key] = self.counts.get(key, 0) + ids.count(key)
            if self.counts[key] >= self.table.admission.threshold:
                new.append(key)
        if len(self.weight) + len(new) > self.table.capacity:
            self.expire(now)
        loose = [key for key in self.weight if key not in known]
        loose.sort(key=lambda key: (self.seen[key], self.freq[key], int(mix(np.array([key], np.uint64))[0])))
        for key in loose[: max(0, len(self.weight) + len(new) - self.table.capacity)]:
            self.drop(key)
        for key in new[: self.table.capacity - len(self.weight)]:
            row = initial_rows(np.array([key], np.uint64), self.table.dim, self.salt, self.table.init_scale)[0]
            self.weight[key], self.state[key] = row, np.zeros(self.table.dim, F32)
            self.seen[key], self.freq[key] = minute, ids.count(key)
            self.counts.pop(key)

    def train(self, ids: list[int], grads: Floats) -> None:
        self.step(self.weight, self.state, ids, grads)
        if self.shared:
            lost = [i for i, key in enumerate(ids) if key not in self.weight]
            self.step(self.shared, self.shared_state, [self.slot(ids[i]) for i in lost], grads[lost])

    def step(self, weight: dict[int, Floats], state: dict[int, Floats], ids: list[int], grads: Floats) -> None:
        for key in dict.fromkeys(key for key in ids if key in weight):
            g = sum((grads[i] for i, other in enumerate(ids) if other == key), np.zeros(self.table.dim, F32))
            if self.table.optimizer.kind == "rowwise_adagrad":
                state[key] = state[key] + np.mean(g * g)
                step = F32(0.5) / (np.sqrt(state[key]) + F32(1e-8)) * g
            else:
                state[key] = state[key] + g * g
                step = F32(0.5) * g / (np.sqrt(state[key]) + F32(1e-8))
            weight[key] = weight[key] - step


class Stores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.models = {name: Model(table) for name, table in TABLES.items()}
        self.stores: list[Any] = [ReferenceStore(TABLES.values()), LocalStore(TABLES.values())]
        self.held: list[dict[str, dict[int, list[float]]]] = [{}, {}]
        for store in self.stores:
            store.subscribe("c")

    @rule(table=st.sampled_from(list(TABLES)), ids=ids_of, seed=st.integers(0, 99), minutes=st.integers(-3, 20))
    def look_up_and_train(self, table: str, ids: list[int], seed: int, minutes: int) -> None:
        self.now = max(0, self.now + minutes * MINUTE)
        model = self.models[table]
        grads = (np.random.default_rng(seed).integers(-8, 9, (len(ids), model.table.dim)) / 4).astype(F32)
        model.look(ids, self.now)
        for store in self.stores:
            found = store.lookup(table, np.array(ids, np.uint64), self.now)
            assert [row >= 0 for row in found.rows_N.tolist()] == [key in model.weight for key in ids]
            for key, values in zip(ids, found.values_ND, strict=True):
                np.testing.assert_array_equal(values, model.read(key))
            store.update(found, grads)
        model.train(ids, grads)

    @rule(minutes=st.integers(0, 40))
    def expire(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        for model in self.models.values():
            model.expire(self.now)
        assert self.stores[0].expire(self.now) == self.stores[1].expire(self.now)

    @rule()
    def shrink(self) -> None:
        sum(self.stores[1].shrinking())

    @rule(swap=st.booleans())
    def save_and_load(self, swap: bool) -> None:
        """Each goes on from its own files, or from the other's unless that loses counts of ids not yet admitted."""
        swap = swap and not any(model.counts for model in self.models.values())
        with tempfile.TemporaryDirectory() as folder:
            places = [Path(folder) / "0", Path(folder) / "1"]
            for store, place in zip(self.stores, places, strict=True):
                store.save(place)
            self.stores = [ReferenceStore(TABLES.values()), LocalStore(TABLES.values())]
            if swap:
                self.stores[1].load(places[0])
            else:
                for store, place in zip(self.stores, places, strict=True):
                    store.load(place)
            if swap:
                self.stores[0].load(places[1])

    @rule(shards=st.integers(2, 5))
    def reshard(self, shards: int) -> None:
        """Out to some shards and back to one."""
        if any(model.counts for model in self.models.values()):
            return
        with tempfile.TemporaryDirectory() as folder:
            self.stores[1].save(Path(folder) / "whole")
            places = [Path(folder) / str(shard) for shard in range(shards)]
            for shard, place in enumerate(places):
                part = LocalStore(TABLES.values())
                part.load(Path(folder) / "whole", shard, shards)
                for name, model in self.models.items():
                    live = part.delta("c").tables[name].ids_U
                    assert (shard_of(live, shards) == shard).all()
                    mine = [key for key in model.weight if shard_of(np.array([key], np.uint64), shards)[0] == shard]
                    assert sorted(live.tolist()) == sorted(mine)
                part.save(place)
            self.stores[1] = LocalStore(TABLES.values())
            self.stores[1].load(places)

    @rule()
    def follow(self) -> None:
        """A consumer that applies deltas holds what the store holds."""
        for store, held in zip(self.stores, self.held, strict=True):
            for _ in range(2):  # the pending one, then what happened since
                delta = store.delta("c")
                for name, change in delta.tables.items():
                    rows = {} if delta.full else held.get(name, {})
                    for key in change.removed.tolist():
                        rows.pop(key, None)
                    rows |= dict(zip(change.ids_U.tolist(), change.values_UD.tolist(), strict=True))
                    held[name] = rows
                store.acknowledge("c", delta.sequence)
            for name, model in self.models.items():
                assert held[name] == {key: row.tolist() for key, row in model.weight.items()}
                if name in delta.fallback:
                    shared = held[delta.fallback[name].rows]
                    assert shared == {slot: row.tolist() for slot, row in model.shared.items()}

    @rule()
    def cut(self) -> None:
        """A delta that nobody acknowledges yet."""
        for store in self.stores:
            store.delta("c")

    @invariant()
    def equal(self) -> None:
        assert self.stores[0].digest() == self.stores[1].digest()
        for store in self.stores:
            for name, model in self.models.items():
                assert store.counters(name)["live"] == len(model.weight) <= model.table.capacity
                found = store.peek(name, np.array(POOL, np.uint64))
                rows = found.rows_N[found.rows_N >= 0].tolist()
                assert len(set(rows)) == len(rows) == len(model.weight)


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
