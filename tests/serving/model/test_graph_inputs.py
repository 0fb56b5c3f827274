from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cache.row_cache import RowCache
from serving.cache.row_store import Floats, MemoryRows
from serving.model.graph_inputs import SparseField, embed
from streaming.encode.batch import Jagged
from tests.serving.fakes import DIM, ids

ID = st.integers(0, 6)


def jagged(lists: list[list[int]]) -> Jagged:
    return Jagged(ids(*(i for one in lists for i in one)), np.array([len(one) for one in lists], np.int32))


def row(table: str, i: int) -> Floats:
    """The row of an id, different in each table; ids from 5 on have none."""
    if i >= 5:
        return np.zeros(DIM, np.float32)
    return np.arange(DIM, dtype=np.float32) + 10 * i + (100 if table == "b" else 0)


@pytest.fixture(scope="module")
def cache() -> RowCache:
    store = MemoryRows({"a": DIM, "b": DIM})
    for table in "ab":
        store.write(table, ids(*range(5)), np.array([row(table, i) for i in range(5)]))
    return RowCache(store, 100)


@given(user=st.lists(ID, max_size=4), single=st.lists(ID, min_size=1, max_size=5), data=st.data())
def test_rows_are_pooled_as_the_definition_says(
    cache: RowCache, user: list[int], single: list[int], data: st.DataObject
) -> None:
    """Against the mean, field by field and item by item; `likes` and `item` share table a."""
    tags = data.draw(st.lists(st.lists(ID, max_size=3), min_size=len(single), max_size=len(single)))
    request = ((SparseField("likes", "a"),), {"likes": jagged([user])})
    items = (
        (SparseField("tags", "b"), SparseField("item", "a")),
        {"item": jagged([[i] for i in single]), "tags": jagged(tags)},
    )
    embedded = embed(cache, request, items, candidates=len(single), dim=DIM)

    def mean(table: str, many: list[int]) -> Floats:
        total = np.zeros(DIM, np.float32)
        for i in many:
            total += row(table, i)
        return np.asarray(total / max(len(many), 1), np.float32)

    assert embedded.complete
    np.testing.assert_allclose(embedded.request_1FD, [[mean("a", user)]], rtol=1e-6)
    expected = [[mean("b", t), row("a", i)] for t, i in zip(tags, single, strict=True)]
    np.testing.assert_allclose(embedded.items_CFD, expected, rtol=1e-6)
    assert embedded.items_CFD.dtype == np.float32


def test_rows_that_the_graph_pools_follow_one_another_with_zeros_behind(cache: RowCache) -> None:
    columns = SparseField("read", "a", 3), SparseField("user", "b"), SparseField("bought", "a", 2)
    request = columns, {"read": jagged([[1, 2]]), "user": jagged([[3]]), "bought": jagged([[]])}
    embedded = embed(cache, request, ((SparseField("item", "a"),), {"item": jagged([[4]])}), candidates=1, dim=DIM + 1)
    expected = np.zeros((1, 5, DIM + 1), np.float32)
    expected[0, :2, :DIM] = [row("a", 1), row("a", 2)]
    np.testing.assert_array_equal(embedded.history_1LD, expected)
    assert embedded.request_1FD.shape == (1, 3, DIM + 1)


def test_a_side_without_sparse_fields_is_empty(cache: RowCache) -> None:
    embedded = embed(
        cache, ((), {}), ((SparseField("item", "a"),), {"item": jagged([[1], [2]])}), candidates=2, dim=DIM
    )
    assert embedded.request_1FD.shape == (1, 0, DIM)
    assert embedded.items_CFD.shape == (2, 1, DIM)
