"""Any sequence of operations leaves the TorchRec store equal to a plain dict.

Ids, clocks and counts to the bit; rows to rounding, for FBGEMM's kernels round in an order of their own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embedding.local import LocalStore
from embedding.store import Floats
from embedding.torchrec.store import TorchRecStore
from tests.embedding.test_machine import F32, MINUTE, POOL, TABLES, Model, ids_of

TOLERANCE = 1e-5


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.models = {name: Model(table) for name, table in TABLES.items()}
        self.store = TorchRecStore(TABLES.values())
        self.store.subscribe("c")
        self.held: dict[str, dict[int, Floats]] = {name: {} for name in TABLES}

    @rule(table=st.sampled_from(list(TABLES)), ids=ids_of, seed=st.integers(0, 99), minutes=st.integers(-3, 20))
    def look_up_and_train(self, table: str, ids: list[int], seed: int, minutes: int) -> None:
        self.now = max(0, self.now + minutes * MINUTE)
        model = self.models[table]
        grads = (np.random.default_rng(seed).integers(-8, 9, (len(ids), model.table.dim)) / 4).astype(F32)
        model.look(ids, self.now)
        found = self.store.lookup(table, np.array(ids, np.uint64), self.now)
        assert [row >= 0 for row in found.rows_N.tolist()] == [key in model.weight for key in ids]
        for key, values in zip(ids, found.values_ND, strict=True):
            np.testing.assert_allclose(values, model.read(key), atol=TOLERANCE)
        self.store.update(found, grads)
        model.train(ids, grads)

    @rule(minutes=st.integers(0, 40))
    def expire(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        before = sum(len(model.weight) for model in self.models.values())
        for model in self.models.values():
            model.expire(self.now)
        assert self.store.expire(self.now) == before - sum(len(model.weight) for model in self.models.values())

    @rule(by_way_of_local=st.booleans())
    def save_and_load(self, by_way_of_local: bool) -> None:
        """The files serve the local store as well, there and back."""
        digest = self.store.digest()
        with tempfile.TemporaryDirectory() as folder:
            self.store.save(Path(folder) / "a")
            if by_way_of_local:
                local = LocalStore(TABLES.values())
                local.load(Path(folder) / "a")
                local.save(Path(folder) / "b")
            self.store = TorchRecStore(TABLES.values())
            self.store.load(Path(folder) / ("b" if by_way_of_local else "a"))
        assert self.store.digest() == digest

    @rule()
    def follow(self) -> None:
        """A consumer that applies deltas holds what the store holds."""
        for _ in range(2):  # the pending one, then what happened since
            delta = self.store.delta("c")
            for name, change in delta.tables.items():
                rows = {} if delta.full else self.held[name]
                for key in change.removed.tolist():
                    rows.pop(key, None)
                rows |= dict(zip(change.ids_U.tolist(), change.values_UD, strict=True))
                self.held[name] = rows
            self.store.acknowledge("c", delta.sequence)
        for name, model in self.models.items():
            assert self.held[name].keys() == model.weight.keys()
            for key, values in self.held[name].items():
                np.testing.assert_array_equal(values, self.store.peek(name, np.array([key], np.uint64)).values_ND[0])

    @invariant()
    def equal(self) -> None:
        state = self.store.state()
        for name, model in self.models.items():
            table = state.tables[name]
            assert dict(zip(table.ids_U.tolist(), table.seen_U.tolist(), strict=True)) == model.seen
            assert dict(zip(table.ids_U.tolist(), table.freq_U.tolist(), strict=True)) == model.freq
            for key, values in zip(table.ids_U.tolist(), table.weights_UD, strict=True):
                np.testing.assert_allclose(values, model.weight[key], atol=TOLERANCE)
            found = self.store.peek(name, np.array(POOL, np.uint64))
            rows = found.rows_N[found.rows_N >= 0].tolist()
            assert len(set(rows)) == len(rows) == len(model.weight) <= model.table.capacity


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=6, stateful_step_count=20, deadline=None)
