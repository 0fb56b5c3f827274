"""Any sequence of operations leaves a store equal to a plain dict, `model.Model`. One machine for all stores.

Gradients are multiples of 1/4, so that sums of squares are exact and the order of adding leaves no trace: where a store
computes in float32, operation by operation, its rows are equal to the bit.

Suffixes: N ids of a call, D dimension, U ids of a table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from embedding.hashing import mix
from embedding.local.store import LocalStore
from embedding.sharding import HashBuckets
from embedding.store import Admission, Lookup, Optimizer, Table
from embedding.table_state import TableState
from tests.contracts.store_copy import Copy
from tests.embedding.model import F32, MINUTE, Model, TableModel

ADAGRAD, ROWWISE = Optimizer("adagrad", lr=0.5), Optimizer("rowwise_adagrad", lr=0.5)
TABLES = (
    Table("bounded", 4, capacity=12, ttl=30 * MINUTE, optimizer=ADAGRAD),
    Table("wide", 4, capacity=2000, ttl=60 * MINUTE, optimizer=ADAGRAD),
    Table(
        "counted",
        2,
        capacity=500,
        ttl=20 * MINUTE,
        optimizer=ROWWISE,
        admission=Admission("count", 2),
        fallback="multiplexed",
    ),
    Table("drawn", 2, capacity=16, optimizer=ROWWISE, admission=Admission("probabilistic", 3), fallback="multiplexed"),
)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # that files survive a crash is shown elsewhere
SMALL = ["bounded", "counted", "drawn"]
EXTREMES = [0, 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
POOL = [*EXTREMES, *(k << 32 for k in range(1, 6)), *(k << 48 | 0xABC for k in range(1, 6)), *range(100, 104)]
_SERIES = np.arange(3500, dtype=np.uint64)
_SOME = st.lists(st.sampled_from(POOL), min_size=6, max_size=20)
BATCH = st.tuples(
    st.sampled_from(SMALL),
    st.one_of(st.just([]), _SOME, _SOME, _SOME),
    st.integers(-3, 12),
    st.sampled_from(["train", "train", "train later", "train another", "expire"]),
)
MANY = {  # up to 1,500 at once, so that a table grows in several steps
    "sequential": _SERIES,
    "multiples of 2^32": _SERIES << np.uint64(32),
    "negative when signed": ~_SERIES,
    "mixed": mix(_SERIES),
}


class StoreMachine(RuleBasedStateMachine):
    """What may happen to a store. A subclass says which one."""

    make: ClassVar[Any]
    """Of tables."""
    others: ClassVar[Mapping[Any, bool]]
    """Stores that it can change places with, and whether counts of ids not yet admitted survive the way there and back.
    """
    local: ClassVar[Any] = LocalStore
    """A local store of tables."""
    atol = 0.0
    """How far rows may be from the model's."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.tables = {table.name: table for table in TABLES}
        self.model = Model(TABLES)
        self.store = self.make(TABLES)
        self.store.subscribe("c")
        self.held = Copy()
        self.read: list[Lookup] = []
        """Look-ups that may be trained yet."""

    # reading and training

    @rule(batches=st.lists(BATCH, min_size=3, max_size=8), seed=st.integers(0, 99))
    def learn(self, batches: list[tuple[str, list[int], int, str]], seed: int) -> None:
        """As time goes on: look up; train that, or a look-up of before, or expire what is old."""
        for table, ids, minutes, then in batches:
            self.now = max(0, self.now + minutes * MINUTE)
            found = self._look_up(table, ids)
            if then == "expire":
                self.expire(minutes=0)
            elif then != "train later":
                self._train(found if then == "train" else self.read[0], seed)

    @rule(kind=st.sampled_from(list(MANY)), start=st.integers(0, 2000), n=st.integers(200, 1500))
    def grow(self, kind: str, start: int, n: int) -> None:
        self._look_up("wide", MANY[kind][start : start + n].tolist())

    def _look_up(self, table: str, ids: list[int]) -> Lookup:
        model = self.model[table]
        model.look(ids, self.now)
        found: Lookup = self.store.lookup(table, np.array(ids, np.uint64), self.now)
        self._as_the_model(found, model)
        self.read = [*self.read[-5:], found]
        return found

    def _as_the_model(self, found: Lookup, model: TableModel) -> None:
        ids = found.ids_N.tolist()
        assert (found.rows_N >= 0).tolist() == [key in model.rows for key in ids]
        rows = dict(zip(ids, found.rows_N.tolist(), strict=True))
        taken = [row for row in rows.values() if row >= 0]
        assert len(set(taken)) == len(taken), "two ids share a row"
        np.testing.assert_allclose(found.values_ND, model.read(ids), rtol=0, atol=self.atol)

    @precondition(lambda self: self.read)
    @rule(which=st.integers(0, 5), seed=st.integers(0, 99))
    def train_late(self, which: int, seed: int) -> None:
        """On a look-up of before, perhaps not for the first time; ids may have gone since, or the store restored."""
        self._train(self.read[which % len(self.read)], seed)

    def _train(self, found: Lookup, seed: int) -> None:
        grads = (np.random.default_rng(seed).integers(-8, 9, found.values_ND.shape) / 4).astype(F32)
        self.store.update(found, grads)
        self.model[found.table].train(found.ids_N.tolist(), (found.rows_N >= 0).tolist(), grads)

    @rule(minutes=st.integers(0, 40))
    def expire(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        assert self.store.expire(self.now) == self.model.expire(self.now)

    @rule(batch=BATCH)
    def forget(self, batch: tuple[str, list[int], int, str]) -> None:
        table, ids, *_ = batch
        assert self.store.forget(table, np.array(ids, np.uint64)) == self.model[table].forget(ids)

    # moving

    @rule(other=st.sampled_from([None, 0, 1]), capacity=st.sampled_from([None, 5, 12, 40]))
    def snapshot_and_restore(self, other: int | None, capacity: int | None) -> None:
        """From its own files or by way of another store, into the same capacity, a larger, or a smaller one."""
        if capacity is not None:
            self.tables["bounded"] = replace(self.tables["bounded"], capacity=capacity)
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            at = Path(folder) / "own"
            self.store.save(at)
            if other is not None:
                make = list(self.others)[other % len(self.others)]
                way = make(self.store.tables.values())
                way.load(at)
                at = Path(folder) / "other"
                way.save(at)
                if not self.others[make]:
                    self.model["counted"].sightings.clear()
            if capacity is not None:
                self.store = self.make(self.tables.values())
            self.store.load(at)
        self.model["bounded"].resize(self.tables["bounded"])

    @rule(shards=st.integers(2, 3))
    def reshard(self, shards: int) -> None:
        """Out to some shards and back to one; counts of ids not yet admitted start again when shards are joined."""
        tables = self.store.tables.values()
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            self.store.save(Path(folder) / "whole")
            places = [Path(folder) / str(shard) for shard in range(shards)]
            for shard, place in enumerate(places):
                part = self.local(tables)
                part.load(Path(folder) / "whole", shard, shards)
                for name, state in part.state().tables.items():
                    whole_U = np.array(list(self.model[name].rows), np.uint64)
                    mine_U = whole_U[HashBuckets(shards).owner(whole_U) == shard]
                    np.testing.assert_array_equal(np.sort(state.ids_U), np.sort(mine_U))
                part.save(place)
            self._join(places, Path(folder) / "joined")
        self.model["counted"].sightings.clear()

    def _join(self, places: Sequence[Path], at: Path) -> None:
        joined = self.local(self.store.tables.values())
        joined.load(places)
        joined.save(at)
        self.store.load(at)

    @precondition(lambda self: hasattr(self.store, "shrinking"))
    @rule()
    def shrink(self) -> None:
        """Memory that a fuller past needed goes back to the system."""
        sum(self.store.shrinking())

    # consumers

    @rule(what=st.sampled_from(["follow", "follow", "cut", "resync"]))
    def consume(self, what: str) -> None:
        match what:
            case "follow":
                self.follow()
            case "cut":  # a delta that nobody acknowledges yet
                self.store.delta("c")
            case "resync":
                self.store.subscribe("c")

    def teardown(self) -> None:
        self.follow()

    def follow(self) -> None:
        """A consumer that applies deltas, and acknowledges them, holds what the store holds."""
        for _ in range(2):  # the pending one, then what happened since
            delta = self.store.delta("c")
            assert self.store.delta("c").sequence == delta.sequence
            self.held.apply(delta)
            self.store.acknowledge("c", delta.sequence)
        for name, model in self.model.tables.items():
            assert self.held.tables[name].keys() == model.rows.keys()
            ids = [*model.rows, *POOL]  # those without a row read what they share
            values = self.held.read(name, np.array(ids, np.uint64), model.table.dim)
            np.testing.assert_allclose(np.array(values, F32), model.read(ids), rtol=0, atol=self.atol)

    # always

    @invariant()
    def equal(self) -> None:
        state = self.store.state()
        for name, model in self.model.tables.items():
            self._same_rows(state.tables[name].ordered(), model)
            counters = self.store.counters(name)
            assert {why: counters[why] for why in model.counters} == model.counters
            assert counters["live"] == len(model.rows) <= model.table.capacity
            gone = counters["expired"] + counters["evicted"] + counters["erased"]
            assert counters["live"] == counters["admitted"] - gone
            self._as_the_model(self.store.peek(name, np.array(POOL, np.uint64)), model)
        for weights_FD, state_FW, _ in state.multiplexed.values():
            for actual, expected in zip(
                (weights_FD, state_FW), self.model.shared[weights_FD.shape[1]].values(), strict=True
            ):
                np.testing.assert_allclose(actual, expected, rtol=0, atol=self.atol)

    def _same_rows(self, state: TableState, model: TableModel) -> None:
        rows = [model.rows[key] for key in sorted(model.rows)]
        assert state.ids_U.tolist() == sorted(model.rows)
        assert state.seen_U.tolist() == [row.seen for row in rows]
        assert state.freq_U.tolist() == [row.freq for row in rows]
        for actual, expected in (
            (state.weights_UD, [row.weight for row in rows]),
            (state.state_UW, [row.state for row in rows]),
        ):
            if rows:
                np.testing.assert_allclose(actual, np.stack(expected), rtol=0, atol=self.atol)
