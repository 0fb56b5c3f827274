"""The TorchRec store of one process: the contract of all stores, and what is its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal

import numpy as np
import pytest
import torch

from embedding.local.store import LocalStore
from embedding.store import EmbeddingStore, Lookup, Optimizer, Table
from embedding.torchrec.sharded_store.store import TorchRecStore
from recsys.errors import InvalidValueError
from tests.contracts.embedding_store import DAY, EmbeddingStoreContract, ids
from tests.embedding import reading
from tests.embedding.test_optimizers import rowwise_adagrad, torch_trained, trained

pytestmark = pytest.mark.slow


class TestTorchRecStore(EmbeddingStoreContract):
    more_optimizers = (Optimizer("adagrad"), Optimizer("adagrad", lr=0.1))  # what FBGEMM has on CPU

    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        return TorchRecStore(tables, seed)


def test_a_look_up_trains_again_and_by_its_ids_alone() -> None:
    table = Table("t", 4, capacity=4, ttl=DAY, optimizer=Optimizer("adagrad", lr=0.1))
    ours, local = TorchRecStore([table]), LocalStore([table])
    for store in (ours, local):
        found = store.lookup("t", ids(1, 2, 1), 0)
        grads = np.array([[1.0] * 4, [2.0] * 4, [3.0] * 4], np.float32)
        store.update(found, grads)
        store.update(found, grads)  # the look-up has been used
        store.update(Lookup("t", found.ids_N, found.rows_N, found.values_ND), grads)
        store.lookup("t", ids(2), 2 * DAY)
        store.expire(2 * DAY)
        store.update(found, grads)  # 1 has gone
        assert store.counters("t")["stale"] == 2
    np.testing.assert_allclose(ours.peek("t", ids(1, 2)).values_ND, local.peek("t", ids(1, 2)).values_ND, atol=1e-6)
    assert ours.state().tables["t"].step == local.state().tables["t"].step


def test_a_reader_in_another_thread_never_sees_half_a_row_nor_another_ids() -> None:
    reading.check(TorchRecStore([reading.TABLE]))


def test_rows_on_disk_are_refused_in_words() -> None:
    with pytest.raises(InvalidValueError, match=r"table 't': FBGEMM has no rows on disk, leave cold_capacity at 0"):
        TorchRecStore([Table("t", 4, capacity=4, cold_capacity=4)])


@pytest.mark.parametrize("dim", [4, 64, 256])
def test_adagrad_is_torchs(dim: int) -> None:
    before, after = trained(TorchRecStore, dim, Optimizer("adagrad", lr=0.1, eps=1e-6))
    expected = torch_trained(before, lambda params: torch.optim.Adagrad(params, lr=0.1, eps=1e-6))
    np.testing.assert_allclose(after, expected, atol=1e-6)


@pytest.mark.parametrize("dim", [4, 5, 64, 256])
def test_rowwise_adagrad_is_fbgemms_definition(dim: int) -> None:
    before, after = trained(TorchRecStore, dim, Optimizer("rowwise_adagrad", lr=0.1, eps=1e-6))
    np.testing.assert_allclose(after, rowwise_adagrad(before, lr=0.1, eps=1e-6), atol=1e-6)


def test_values_and_gradients_may_be_read_only_and_stay_as_they_were() -> None:
    store = TorchRecStore([Table("t", 4)])
    keys, grads = ids(1, 2), np.ones((2, 4), np.float32)
    keys.flags.writeable = grads.flags.writeable = False
    store.update(store.lookup("t", keys, 0), grads)
    assert (keys.tolist(), grads.tolist()) == ([1, 2], [[1.0] * 4] * 2)


@pytest.mark.parametrize("kind", ["rowwise_adagrad", "adagrad"])
@pytest.mark.parametrize("dim", [1, 6, 16])
def test_it_learns_what_the_local_store_learns(kind: Literal["rowwise_adagrad", "adagrad"], dim: int) -> None:
    table = Table("t", dim, capacity=40, ttl=DAY, optimizer=Optimizer(kind, lr=0.1, eps=0.0), fallback="multiplexed")
    ours, local = TorchRecStore([table], seed=5), LocalStore([table], seed=5)
    stores: tuple[EmbeddingStore, ...] = (ours, local)
    rng = np.random.default_rng(0)
    for step in range(20):
        keys = rng.integers(0, 60, 30).astype(np.uint64)
        grads = rng.standard_normal((30, dim)).astype(np.float32)
        found = [each.lookup("t", keys, step * DAY // 8) for each in stores]
        np.testing.assert_allclose(found[0].values_ND, found[1].values_ND, atol=2e-6)
        for each, rows in zip(stores, found, strict=True):
            each.update(rows, grads)
            each.expire(step * DAY // 8)
    mine, theirs = ours.state().tables["t"].ordered(), local.state().tables["t"].ordered()
    np.testing.assert_array_equal(mine.ids_U, theirs.ids_U)
    np.testing.assert_allclose(mine.state_UW, theirs.state_UW, rtol=1e-5)
    assert ours.counters("t")["evicted"] == local.counters("t")["evicted"] > 0


@pytest.mark.parametrize("kind", ["adam", "ftrl"])
def test_optimizers_that_the_kernels_lack_are_refused_by_name(kind: Literal["adam", "ftrl"]) -> None:
    with pytest.raises(InvalidValueError, match=f"no {kind}, choose rowwise_adagrad or adagrad"):
        TorchRecStore([Table("t", 4, optimizer=Optimizer(kind))])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "gpu0"}, "device is 'gpu0', write \"cpu\" or"),
        ({"device": [3]}, r"device is \[3\], write"),
        ({"group": 3}, "group is 3, write what dist.new_group"),
    ],
)
def test_a_device_or_group_that_is_none_is_told_what_to_write(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        TorchRecStore([Table("t", 4, capacity=10)], **arguments)


def test_several_tables_are_given_by_name_and_each_look_up_its_gradients() -> None:
    store = TorchRecStore([Table(name, 4, capacity=10) for name in "ab"])
    grads = np.ones((1, 4), np.float32)
    found = list(store.lookup_each({"a": ids(1), "b": ids(1)}, 0).values())
    before = store.digest()
    for wrong, message in (
        (lambda: store.lookup_each(ids(1), 0), "ids are uint64 with shape"),  # type: ignore[arg-type]
        (lambda: store.update_each(found, [grads]), "2 look-ups and 1 arrays"),
        (lambda: store.update_each(found[0], [grads]), "look-ups of update_each"),  # type: ignore[arg-type]
        (lambda: store.update_each(found, grads), "gradients of update_each"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidValueError, match=message):
            wrong()
    assert store.digest() == before


def test_it_is_sharded_row_wise_into_fused_kernels_by_the_planner() -> None:
    plan = TorchRecStore([Table("t", 4)]).plan.plan
    ((_, module),) = plan.items()
    ((_, parameter),) = module.items()
    assert (parameter.sharding_type, parameter.compute_kernel) == ("row_wise", "fused")


def test_importing_the_package_loads_neither_torch_nor_torchrec() -> None:
    code = (
        "import sys, embedding, embedding.torchrec; assert not {'torch', 'torchrec', 'fbgemm_gpu'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
