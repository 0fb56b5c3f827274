"""Random programs: look-ups, steps, clocks, expiry, lost acknowledgements and restores, against the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from embedding.delta.consumers import Follower
from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.store import Floats, Ids, Optimizer, Table
from tests.embedding.differential.oracle import MINUTE, Oracle

DIM, STEPS = 4, 40
Make = Callable[[list[Table]], LocalStore | ReferenceStore]


def adversarial() -> Ids:
    """Ends of the range, neighbours, powers of two, ids that differ in high bits only, and ids with one home line."""
    ends = [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
    powers = [1 << bit for bit in range(2, 62, 5)]
    high = [(k << 56) + 77 for k in range(8)]
    z = (np.uint64(0xABCDEF << 32)) + np.arange(12, dtype=np.uint64)  # splitmix64 backwards: mixed ids side by side
    z = (z ^ (z >> np.uint64(31)) ^ (z >> np.uint64(62))) * np.uint64(0x319642B2D24D8EC3)
    z = (z ^ (z >> np.uint64(27)) ^ (z >> np.uint64(54))) * np.uint64(0x96DE1B173F119089)
    crowd = (z ^ (z >> np.uint64(30)) ^ (z >> np.uint64(60))) - np.uint64(0x9E3779B97F4A7C15)
    return np.unique(np.concatenate([np.array(ends + powers + high, np.uint64), crowd]))


class Copy:
    """What a consumer knows, from deltas alone."""

    def __init__(self) -> None:
        self.follower, self.rows, self.resyncs = Follower(), dict[int, Floats](), 0

    def take(self, store: LocalStore | ReferenceStore, acknowledges: bool) -> None:
        delta = store.delta("c")
        if not self.follower.accepts(delta):
            self.resyncs += 1
            store.subscribe("c")
            delta = store.delta("c")
            assert delta.full
            assert self.follower.accepts(delta)
        if delta.full:
            self.rows = {}
        for key, row in zip(delta.tables["t"].ids_U.tolist(), delta.tables["t"].values_UD, strict=True):
            self.rows[key] = row
        for key in delta.tables["t"].removed.tolist():
            self.rows.pop(key, None)
        if acknowledges:
            store.acknowledge("c", delta.sequence)


def clock(rng: np.random.Generator, now: int) -> int:
    """The next time: the same, a little on or back, a day on, or the day's beginning."""
    moved = [now, now, now + MINUTE // 2, now + 7 * MINUTE, now - 3 * MINUTE, now + 1440 * MINUTE]
    return int(rng.choice([*moved, now // (1440 * MINUTE) * 1440 * MINUTE]))


def check(store: LocalStore | ReferenceStore, oracle: Oracle, ids: Ids) -> None:
    read = store.peek("t", ids)
    assert sorted(ids[read.rows_N >= 0].tolist()) == oracle.live()
    np.testing.assert_allclose(read.values_ND, oracle.read(ids), rtol=2e-5, atol=2e-6)


def run(make: Make, table: Table, seed: int, folder: Path) -> dict[str, int]:
    """One program. Returns what happened how often."""
    rng, ids, now = np.random.default_rng(seed), adversarial(), 1_700_000_000_000
    store, oracle, follower = make([table]), Oracle(table, ids), Copy()
    store.subscribe("c")
    store.save(folder / "0")
    saved, happened = [(folder / "0", oracle.copy())], {"expired": 0, "lost": 0, "restored": 0}
    for step in range(1, STEPS):
        now = clock(rng, now)
        given = rng.choice(ids, rng.integers(1, 30))
        match rng.choice(["train"] * 5 + ["look", "expire", "delta", "lost", "save", "restore"]):
            case "train":
                grads = rng.standard_normal((len(given), DIM)).astype(np.float32)
                oracle.look(given, now)
                store.update(store.lookup("t", given, now), grads)
                oracle.train(given, grads)
            case "look":
                oracle.look(given, now)
                store.lookup("t", given, now)
            case "expire":
                gone = oracle.expire(now)
                assert store.expire(now) == gone
                happened["expired"] += gone
            case "delta":
                follower.take(store, acknowledges=True)
            case "lost":
                follower.take(store, acknowledges=False)
                happened["lost"] += 1
            case "save":
                store.save(folder / str(step))
                saved.append((folder / str(step), oracle.copy()))
            case "restore":
                place, kept = saved[int(rng.integers(len(saved)))]
                store, oracle = make([table]), kept.copy()
                store.load(place)
                happened["restored"] += 1
        check(store, oracle, ids)
    for _ in range(2):  # the first may repeat a delta that was lost
        follower.take(store, acknowledges=True)
    read = store.peek("t", ids)
    assert sorted(follower.rows) == oracle.live()
    for key, row, value in zip(ids.tolist(), read.rows_N, read.values_ND, strict=True):
        if row >= 0:
            np.testing.assert_array_equal(follower.rows[key], value)
    return happened | {"resyncs": follower.resyncs}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adagrad", "adam"])
@pytest.mark.parametrize(("make", "programs"), [(LocalStore, 8), (ReferenceStore, 3)])
def test_a_store_is_dicts_under_pytorchs_optimizers(
    make: Make, programs: int, kind: Literal["adagrad", "adam"], tmp_path: Path
) -> None:
    table = Table("t", DIM, capacity=4096, optimizer=Optimizer(kind, lr=0.05), ttl=600 * MINUTE)
    total: dict[str, int] = {}
    for seed in range(programs):
        for what, times in run(make, table, seed, tmp_path / str(seed)).items():
            total[what] = total.get(what, 0) + times
    assert min(total.values()) > 0, total
