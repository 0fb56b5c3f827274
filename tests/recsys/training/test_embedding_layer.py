"""Rows go into one tensor, pooled; gradients come back unpooled."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch

from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.store import EmbeddingStore, Floats, Ids, Lookup, Optimizer, Table
from recsys.errors import InvalidValueError
from recsys.models import AutoInt, build
from recsys.training.embedding_layer import EmbeddingLayer
from recsys.training.learner import Learner
from streaming.encode.batch import Jagged
from streaming.encode.feature_spec import FeatureSpec, Field


class DictStore:
    """As much of a store as the layer uses: plain SGD with learning rate 1; a peek of an unknown id reads zeros."""

    def __init__(self, *tables: Table) -> None:
        self.tables = {table.name: table for table in tables}
        self.rows: dict[str, dict[int, Floats]] = {table.name: {} for table in tables}
        self.calls: list[tuple[str, str, int | None]] = []

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        self.calls.append(("lookup", table, now))
        for key in ids_N.tolist():
            self.rows[table].setdefault(key, np.full(self.tables[table].dim, key, np.float32))
        return self._read(table, ids_N)

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        self.calls.append(("peek", table, None))
        return self._read(table, ids_N)

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        assert grads_ND.dtype == np.float32
        assert grads_ND.flags.c_contiguous
        for key, gradient in zip(lookup.ids_N.tolist(), grads_ND, strict=True):
            self.rows[lookup.table][key] = self.rows[lookup.table][key] - gradient

    def _read(self, table: str, ids_N: Ids) -> Lookup:
        zeros = np.zeros(self.tables[table].dim, np.float32)
        values = [self.rows[table].get(key, zeros) for key in ids_N.tolist()]
        values_ND = np.array(values, np.float32).reshape(len(ids_N), self.tables[table].dim)
        return Lookup(table, ids_N, np.zeros(len(ids_N), np.int64), values_ND)


SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("history", "multi", "request.history", table="item"),
        Field("item", "categorical", "item"),
    ]
)


def make_layer(spec: FeatureSpec = SPEC, dim: int = 2) -> tuple[DictStore, EmbeddingLayer]:
    store = DictStore(*(Table(name, dim) for name in ("user", "item")))
    return store, EmbeddingLayer(store, spec)  # type: ignore[arg-type]


def jagged(*rows: list[int]) -> Jagged:
    lengths_B = np.array([len(row) for row in rows], np.int32)
    return Jagged(np.array([i for row in rows for i in row], np.uint64), lengths_B)


IDS = {
    "user": jagged([1], [2], [1]),
    "history": jagged([10, 20], [], [30, 30, 60]),
    "item": jagged([10], [40], [30]),
}


def test_pools_by_the_mean_and_reads_zeros_for_nothing() -> None:
    _, layer = make_layer()
    embedded_BFD = layer.lookup(IDS, now=7).embedded_BFD.detach().numpy()
    expected = [[1, 15, 10], [2, 0, 40], [1, 40, 30]]
    np.testing.assert_allclose(embedded_BFD, np.repeat(np.array(expected)[..., None], 2, 2), rtol=1e-6)


def test_fields_of_one_table_share_one_call() -> None:
    store, layer = make_layer()
    layer.lookup(IDS, now=7)
    assert store.calls == [("lookup", "user", 7), ("lookup", "item", 7)]


def test_gradients_equal_those_of_autograd_through_the_pooling() -> None:
    store, layer = make_layer()
    embedded = layer.lookup(IDS, now=0)
    before = {key: row.copy() for key, row in store.rows["item"].items()}
    coefficients = torch.randn(3, 3, 2, generator=torch.Generator().manual_seed(0))
    torch.autograd.backward((embedded.embedded_BFD * coefficients).sum())
    layer.apply(embedded)

    leaves = {key: torch.tensor(row, requires_grad=True) for key, row in before.items()}
    total = torch.zeros(())
    for number, name in ((1, "history"), (2, "item")):
        start = 0
        for row, length in enumerate(IDS[name].lengths_B.tolist()):
            keys = IDS[name].values[start : start + length].tolist()
            start += length
            if keys:
                total = total + (torch.stack([leaves[key] for key in keys]).mean(0) * coefficients[row, number]).sum()
    torch.autograd.backward(total)
    for key, leaf in leaves.items():
        assert leaf.grad is not None
        np.testing.assert_allclose(store.rows["item"][key], before[key] - leaf.grad.numpy(), rtol=1e-6)


ATTENDED = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("history", "multi", "user.recent(click, 9)", table="item", pooling="attention"),
        Field("item", "categorical", "item"),
    ]
)


def test_a_history_that_the_model_pools_is_given_row_by_row_and_each_row_gets_its_gradient() -> None:
    store, layer = make_layer(ATTENDED)
    embedded = layer.lookup(IDS, now=0)
    (rows_BLD,) = embedded.histories
    places = [[10, 20, 0], [0, 0, 0], [30, 30, 60]]
    assert rows_BLD.tolist() == [[[float(key)] * 2 for key in row] for row in places]
    coefficients = torch.arange(18.0).reshape(3, 3, 2)
    torch.autograd.backward((rows_BLD * coefficients).sum() + embedded.embedded_BFD[:, 2].sum())
    assert embedded.gradient_BS is not None
    assert embedded.gradient_BS.shape == (3, 6 + 6)
    layer.apply(embedded)
    changes = {key: (key - row).tolist() for key, row in store.rows["item"].items()}
    assert changes == {10: [1, 2], 20: [2, 3], 30: [12 + 14 + 1, 13 + 15 + 1], 60: [16, 17], 40: [1, 1]}


def test_blank_rows_of_a_batch_have_no_history() -> None:
    _, layer = make_layer(ATTENDED)
    embedded = layer.lookup(IDS, now=0)
    embedded.blank(np.array([True, False, False]))
    assert embedded.embedded_BFD[0].tolist() == [[0.0, 0.0]] * 3
    assert [bool(rows.any()) for rows in embedded.histories[0]] == [False, False, True]


def test_a_history_without_any_item_has_one_empty_place() -> None:
    _, layer = make_layer(ATTENDED)
    nothing = layer.peek({name: jagged([], []) for name in IDS})
    assert [rows.shape for rows in nothing.histories] == [(2, 1, 2)]
    assert not nothing.histories[0].requires_grad


@pytest.mark.parametrize("make", [ReferenceStore, LocalStore])
def test_two_steps_equal_an_embedding_bag_under_adagrad(make: Callable[[list[Table]], EmbeddingStore]) -> None:
    rule = Optimizer("adagrad", lr=0.1, eps=1e-8)
    store = make([Table(name, 2, optimizer=rule, init_scale=0.5) for name in ("user", "item")])
    layer = EmbeddingLayer(store, SPEC)
    layer.lookup(IDS, now=0)  # admits every id
    keys = np.array([10, 20, 30, 40, 60], np.uint64)
    bag = torch.nn.EmbeddingBag.from_pretrained(
        torch.from_numpy(store.peek("item", keys).values_ND.copy()), freeze=False, mode="mean"
    )
    peer = torch.optim.Adagrad(bag.parameters(), lr=0.1, eps=1e-8)
    history, offsets, item = torch.tensor([0, 1, 2, 2, 4]), torch.tensor([0, 2, 2]), torch.tensor([[0], [3], [2]])
    coefficients = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        embedded = layer.lookup(IDS, now=0)
        torch.autograd.backward((embedded.embedded_BFD[:, 1:] * coefficients).square().sum())
        layer.apply(embedded)
        peer.zero_grad()
        expected_BFD = torch.stack([bag(history, offsets), bag(item)], 1)
        torch.autograd.backward((expected_BFD * coefficients).square().sum())
        peer.step()
    np.testing.assert_allclose(store.peek("item", keys).values_ND, bag.weight.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_peek_changes_nothing_and_takes_no_gradient() -> None:
    store, layer = make_layer()
    embedded = layer.peek(IDS)
    assert store.calls == [("peek", "user", None), ("peek", "item", None)]
    assert not store.rows["item"]
    assert not embedded.embedded_BFD.requires_grad
    with pytest.raises(ValueError, match="not after peek"):
        layer.apply(embedded)


def test_all_rows_empty() -> None:
    store, layer = make_layer()
    nothing = {name: jagged([], []) for name in IDS}
    embedded = layer.lookup(nothing, now=0)
    assert embedded.embedded_BFD.tolist() == [[[0.0, 0.0]] * 3] * 2
    torch.autograd.backward(embedded.embedded_BFD.sum())
    layer.apply(embedded)
    assert not store.rows["item"]


def test_an_empty_batch_and_a_model_without_sparse_fields() -> None:
    _, layer = make_layer()
    assert layer.lookup({name: jagged() for name in IDS}, now=0).embedded_BFD.shape == (0, 3, 2)
    _, numeric = make_layer(FeatureSpec.of([Field("price", "numeric", "item.price")]))
    embedded_BFD = numeric.lookup({}, now=0).embedded_BFD
    assert build(AutoInt.Config(), n_sparse=0, n_numeric=1, dim=2)(embedded_BFD, torch.ones(3, 1)).shape == (3, 1)


def test_a_missing_table_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no table item"):
        EmbeddingLayer(cast(EmbeddingStore, DictStore(Table("user", 2))), SPEC)


def test_tables_may_differ_in_dimension() -> None:
    store = DictStore(Table("user", 3), Table("item", 2))
    layer = EmbeddingLayer(cast(EmbeddingStore, store), SPEC)
    embedded = layer.lookup(IDS, now=0)
    expected = [
        [[1, 1, 1], [15, 15, 0], [10, 10, 0]],
        [[2, 2, 2], [0, 0, 0], [40, 40, 0]],
        [[1, 1, 1], [40, 40, 0], [30, 30, 0]],
    ]
    np.testing.assert_allclose(embedded.embedded_BFD.detach().numpy(), expected, rtol=1e-6)
    torch.autograd.backward(embedded.embedded_BFD[:, 0, 1:].sum() + embedded.embedded_BFD[:, 1, [0, 2]].sum())
    layer.apply(embedded)
    assert store.rows["user"][2].tolist() == [2, 1, 1]
    assert store.rows["item"][20].tolist() == [19.5, 20]


@pytest.mark.parametrize("dim", [2, 5])
def test_a_model_refuses_tables_of_which_the_widest_is_not_of_its_dimension(dim: int) -> None:
    model = build(AutoInt.Config(), n_sparse=3, n_numeric=0, dim=dim)
    store = cast(EmbeddingStore, DictStore(Table("user", 2), Table("item", 4)))
    with pytest.raises(InvalidValueError, match=f"dimension, {dim}; table item has 4, table user has 2"):
        Learner(SPEC, model, store, dense_lr=0.1, generator=torch.Generator())
