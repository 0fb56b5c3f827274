"""Tables that are read and trained together are what they are one by one, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedding.store import Admission, Optimizer, Table
from embedding.torchrec.sharded_store.store import TorchRecStore
from tests.contracts.embedding_store import DAY
from tests.embedding.torchrec.processes import run

pytestmark = pytest.mark.slow

TABLES = (
    Table("wide", 6, capacity=400, ttl=3 * DAY, optimizer=Optimizer(lr=0.1)),
    Table("counted", 4, capacity=400, admission=Admission("count", 2), optimizer=Optimizer("adagrad", lr=0.1)),
    Table("small", 8, capacity=8, optimizer=Optimizer(lr=0.1)),
)


def members(rank: int, world: int, folder: Path) -> None:
    together, apart = TorchRecStore(TABLES, seed=3), TorchRecStore(TABLES, seed=3)
    rng = np.random.default_rng(rank)
    for step in range(12):
        now, sizes = step * DAY // 4, rng.integers(0, 30, 3) * (step % 4 > 0 or rank)  # now and then nothing
        ids = {
            t.name: rng.integers(0, 60, n).astype(np.uint64) << np.uint64(33)
            for t, n in zip(TABLES, sizes, strict=True)
        }
        grads = [rng.standard_normal((len(ids[t.name]), t.dim)).astype(np.float32) for t in TABLES]
        if step == 5 and len(grads[0]):
            grads[0][0, 0] = np.nan
        found, one_by_one = (
            together.lookup_each(ids, now),
            {name: apart.lookup(name, own, now) for name, own in ids.items()},
        )
        for name, own in one_by_one.items():
            np.testing.assert_array_equal(found[name].values_ND, own.values_ND)
            np.testing.assert_array_equal(found[name].rows_N, own.rows_N)
        for store in (together, apart) if step % 3 == 0 else ():  # between look-up and update, rows go to others
            store.expire(now + 4 * DAY)
        together.update_each(list(found.values()), grads)
        for own, part in zip(one_by_one.values(), grads, strict=True):
            apart.update(own, part)
        if step == 7:  # again, after they were trained: by their ids
            together.update_each(list(found.values()), grads)
            for own, part in zip(one_by_one.values(), grads, strict=True):
                apart.update(own, part)
        for name, seen in together.peek_each(ids).items():
            np.testing.assert_array_equal(seen.values_ND, apart.peek(name, ids[name]).values_ND)
        assert together.digest() == apart.digest()
    for table in TABLES:
        assert together.counters(table.name) == apart.counters(table.name)
    counted = together.counters("wide")
    assert counted["expired"] > 0
    assert counted["stale"] > 0
    assert together.counters("small")["refused"] + together.counters("small")["evicted"] > 0


def test_together_they_are_what_they_are_one_by_one(tmp_path: Path) -> None:
    run(2, members, tmp_path)
    members(0, 1, tmp_path)
