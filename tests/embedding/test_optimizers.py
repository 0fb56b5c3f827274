"""The update rules against independent ones: torch.optim on sparse gradients, FTRL-Proximal written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch

from embedding.local.store import LocalStore
from embedding.optimizers import state_width
from embedding.reference.store import ReferenceStore
from embedding.reference.table import sqrt
from embedding.store import EmbeddingStore, Floats, Ids, Optimizer, Table
from recsys.errors import InvalidValueError

STORES = pytest.mark.parametrize("make", [ReferenceStore, LocalStore])
DIMS = pytest.mark.parametrize("dim", [4, 5, 16, 33, 64, 256])
Make = Callable[[list[Table]], EmbeddingStore]
Kind = Literal["adagrad", "adam", "ftrl", "rowwise_adagrad"]
IDS = 20


def batches(dim: int) -> list[tuple[Ids, Floats]]:
    rng = np.random.default_rng(dim)
    return [
        (rng.integers(0, IDS, 50).astype(np.uint64), rng.standard_normal((50, dim)).astype(np.float32))
        for _ in range(12)
    ]


def trained(make: Make, dim: int, rule: Optimizer) -> tuple[Floats, Floats]:
    """Values before and after the batches, rows of ids 0 to IDS - 1."""
    store, every = make([Table("t", dim, capacity=1000, optimizer=rule)]), np.arange(IDS, dtype=np.uint64)
    before = store.lookup("t", every, 0).values_ND
    for ids, grads in batches(dim):
        store.update(store.lookup("t", ids, 0), grads)
    return before, store.peek("t", every).values_ND


def torch_trained(before: Floats, make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]) -> Floats:
    weight = torch.nn.Parameter(torch.from_numpy(before.copy()))
    optimizer = make([weight])
    for ids, grads in batches(before.shape[1]):
        optimizer.zero_grad()
        read = torch.nn.functional.embedding(torch.from_numpy(ids.astype(np.int64)), weight, sparse=True)
        torch.autograd.backward(read, torch.from_numpy(grads))
        checked: Any = torch.sparse.check_sparse_tensor_invariants
        with checked(enable=True):  # torch warns unless told
            optimizer.step()
    result: Floats = weight.detach().numpy()
    return result


def rowwise_adagrad(before: Floats, lr: float, eps: float) -> Floats:
    """Values after the batches, by the definition, in double precision."""
    w, state = before.astype(np.float64), np.zeros(IDS)
    for ids, grads in batches(before.shape[1]):
        total = np.zeros_like(w)
        np.add.at(total, ids.astype(np.int64), grads)
        state += (total**2).mean(1)
        w -= lr * total / (np.sqrt(state)[:, None] + eps)
    return w.astype(np.float32)


@STORES
@DIMS
def test_adagrad_is_torchs(make: Make, dim: int) -> None:
    before, after = trained(make, dim, Optimizer("adagrad", lr=0.1, eps=1e-6))
    expected = torch_trained(before, lambda params: torch.optim.Adagrad(params, lr=0.1, eps=1e-6))
    np.testing.assert_allclose(after, expected, atol=1e-6)


@STORES
@DIMS
def test_adam_is_torchs_sparse_adam(make: Make, dim: int) -> None:
    before, after = trained(make, dim, Optimizer("adam", lr=0.01, eps=1e-6, betas=(0.8, 0.99)))
    expected = torch_trained(
        before, lambda params: torch.optim.SparseAdam(params, lr=0.01, eps=1e-6, betas=(0.8, 0.99))
    )
    np.testing.assert_allclose(after, expected, atol=1e-6)


@pytest.mark.slow
@STORES
@DIMS
def test_rowwise_adagrad_is_fbgemms(make: Make, dim: int) -> None:
    before, after = trained(make, dim, Optimizer("rowwise_adagrad", lr=0.1, eps=1e-6))
    np.testing.assert_allclose(after, rowwise_adagrad(before, lr=0.1, eps=1e-6), atol=1e-6)


@STORES
@DIMS
def test_ftrl_is_mcmahans(make: Make, dim: int) -> None:
    rule = Optimizer("ftrl", lr=0.1, eps=1e-3, l1=0.2, l2=0.1)
    before, after = trained(make, dim, rule)
    w, z, n = before.astype(np.float64), np.zeros((IDS, dim)), np.zeros((IDS, dim))
    for ids, grads in batches(dim):
        g = np.zeros_like(w)
        np.add.at(g, ids.astype(np.int64), grads)
        sigma = (np.sqrt(n + g * g) - np.sqrt(n)) / rule.lr
        z += g - sigma * w
        n += g * g
        solved = -(z - np.sign(z) * rule.l1) / ((rule.eps + np.sqrt(n)) / rule.lr + rule.l2)
        w = np.where(g == 0, w, np.where(np.abs(z) <= rule.l1, 0, solved))
    np.testing.assert_allclose(after, w, atol=2e-6)
    assert (after == 0).any(), "l1 zeroes some weights"


def test_the_references_square_root_is_correctly_rounded() -> None:
    """On AMD processors `torch.sqrt` is off by one ulp for one value in five."""
    values = np.random.default_rng(0).random(20_000, dtype=np.float32)
    exact = [np.float32(math.sqrt(value)) for value in values.tolist()]  # rounding twice is exact: 53 >= 2 * 24 + 2
    np.testing.assert_array_equal(sqrt(torch.from_numpy(values)).numpy(), np.array(exact))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adagrad", "adam", "ftrl", "rowwise_adagrad"])
def test_the_kernels_equal_the_reference_to_the_bit(kind: Kind) -> None:
    """Both round every operation correctly. Row-wise, dimension 1 leaves the order of adding no choice."""
    dim = 1 if kind == "rowwise_adagrad" else 33
    l1, l2 = (0.2, 0.1) if kind == "ftrl" else (0.0, 0.0)
    rule = Optimizer(kind, lr=0.1, eps=1e-6, l1=l1, l2=l2)
    _, expected = trained(ReferenceStore, dim, rule)
    _, actual = trained(LocalStore, dim, rule)
    np.testing.assert_array_equal(actual, expected)


def test_state_width_is_what_the_rule_keeps() -> None:
    widths = {kind: state_width(Optimizer(kind), 16) for kind in ("rowwise_adagrad", "adagrad", "adam", "ftrl")}
    assert widths == {"rowwise_adagrad": 1, "adagrad": 16, "adam": 32, "ftrl": 32}


@STORES
@pytest.mark.parametrize("kind", ["adagrad", "adam", "ftrl", "rowwise_adagrad"])
def test_a_gradient_beyond_the_largest_norm_trains_as_one_of_that_norm(make: Make, kind: Kind) -> None:
    clipped = make([Table("t", 2, optimizer=Optimizer(kind, lr=0.1, max_norm=5.0))])
    plain = make([Table("t", 2, optimizer=Optimizer(kind, lr=0.1))])
    ids = np.array([1, 1, 2], np.uint64)
    for store, grads in ((clipped, [[3e20, 0], [0, 4e20], [3, 0]]), (plain, [[3, 0], [0, 4], [3, 0]])):
        store.update(store.lookup("t", ids, 0), np.array(grads, np.float32))
    np.testing.assert_allclose(clipped.peek("t", ids).values_ND, plain.peek("t", ids).values_ND, rtol=1e-6)
    assert clipped.counters("t")["nonfinite"] == 0


@pytest.mark.parametrize("kind", ["adagrad", "adam", "ftrl", "rowwise_adagrad"])
def test_both_stores_clip_and_skip_alike(kind: Kind) -> None:
    """To the same bits, but for row-wise Adagrad, whose mean of squares they add in different orders."""
    tables = [Table("t", 4, optimizer=Optimizer(kind, lr=0.1, max_norm=1.5))]
    local, reference = LocalStore(tables), ReferenceStore(tables)
    stores: tuple[EmbeddingStore, ...] = (local, reference)
    for ids, grads in batches(4):
        grads[3, 2], grads[7, 0] = np.nan, 1e38
        for store in stores:
            store.update(store.lookup("t", ids, 0), grads)
    if kind != "rowwise_adagrad":
        assert local.digest() == reference.digest()
    every = np.arange(IDS, dtype=np.uint64)
    np.testing.assert_allclose(local.peek("t", every).values_ND, reference.peek("t", every).values_ND, atol=1e-6)
    assert local.counters("t")["nonfinite"] == reference.counters("t")["nonfinite"] > 0


@STORES
@pytest.mark.parametrize("kind", ["adagrad", "adam", "rowwise_adagrad"])
def test_l2_adds_its_gradient_once_for_each_id_of_an_update(make: Make, kind: Kind) -> None:
    """Beside a store without it that is given these gradients; an id that repeats has the penalty once."""
    penalised = make([Table("t", 4, optimizer=Optimizer(kind, lr=0.1, l2=0.5, max_norm=1e6), init_scale=1.0)])
    plain = make([Table("t", 4, optimizer=Optimizer(kind, lr=0.1), init_scale=1.0)])
    every = np.arange(IDS, dtype=np.uint64)
    for ids, grads in batches(4):
        found, other = penalised.lookup("t", ids, 0), plain.lookup("t", ids, 0)
        first = np.zeros(len(ids), bool)
        first[np.unique(ids, return_index=True)[1]] = True
        penalised.update(found, grads)
        plain.update(other, grads + np.where(first[:, None], np.float32(0.5) * other.values_ND, np.float32(0)))
    np.testing.assert_allclose(penalised.peek("t", every).values_ND, plain.peek("t", every).values_ND, atol=1e-5)


@STORES
@pytest.mark.parametrize("kind", ["adagrad", "adam", "ftrl", "rowwise_adagrad"])
def test_l2_is_lazy_and_shrinks_what_is_read(make: Make, kind: Kind) -> None:
    stores = [make([Table("t", 4, optimizer=Optimizer(kind, lr=0.1, l2=l2), init_scale=1.0)]) for l2 in (0.0, 1.0)]
    ids, gradients = np.array([1, 2], np.uint64), np.full((1, 4), 0.1, np.float32)
    before, _ = (store.lookup("t", ids, 0).values_ND for store in stores)
    for store in stores:
        for sign in (1, -1) * 20:
            store.update(store.lookup("t", ids[:1], 0), gradients * np.float32(sign))
    plain, penalised = (store.peek("t", ids).values_ND for store in stores)
    assert np.abs(penalised[0]).sum() < np.abs(plain[0]).sum()
    np.testing.assert_array_equal(penalised[1], before[1])


@pytest.mark.parametrize("kind", ["adagrad", "adam", "ftrl"])
def test_both_stores_add_l2_to_the_same_bits(kind: Kind) -> None:
    rule = Optimizer(kind, lr=0.1, eps=1e-6, l2=0.3)
    (_, expected), (_, actual) = (trained(make, 33, rule) for make in (ReferenceStore, LocalStore))
    np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize("wrong", [-0.1, math.nan])
def test_a_penalty_that_is_not_at_least_0_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidValueError, match=r"l1 and l2 must be at least 0|l2 is nan, write a finite"):
        state_width(Optimizer(l2=wrong), 4)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_norm_that_is_not_above_0_is_refused(max_norm: float) -> None:
    with pytest.raises(InvalidValueError, match=r"choose None or a norm above 0|max_norm is nan, write a finite"):
        state_width(Optimizer(max_norm=max_norm), 4)
