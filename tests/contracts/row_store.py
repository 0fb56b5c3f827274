"""What every row store does. An implementation's tests subclass `RowStoreContract` and say how to make and fill one."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import pytest

from serving.cache.row_store import Floats, Ids, RowStore

DIM = 3
DIMS = {"item": DIM, "user": DIM, "a": DIM, "b": DIM, "wide": 5}
LARGEST = 2**64 - 1


def ids(*values: int) -> Ids:
    return np.array(values, np.uint64)


class RowStoreContract:
    """`write` and `remove` change what the store reads, as a trainer does from elsewhere."""

    @pytest.fixture
    @abstractmethod
    def store(self) -> RowStore: ...

    @abstractmethod
    def write(self, store: RowStore, table: str, ids_N: Ids, values_ND: Floats) -> None: ...

    @abstractmethod
    def remove(self, store: RowStore, table: str, ids_N: Ids) -> None: ...

    def test_rows_come_back_in_the_order_asked_for(self, store: RowStore) -> None:
        values_ND = (np.arange(9).reshape(3, DIM) / 7).astype(np.float32)
        self.write(store, "item", ids(0, 5, LARGEST), values_ND)
        read = store.read({"item": ids(LARGEST, 0, 5, 0)})["item"]
        np.testing.assert_array_equal(read.values_ND, values_ND[[2, 0, 1, 0]])
        assert read.values_ND.dtype == np.float32
        assert read.found_N.all()

    def test_unknown_ids_read_zeros_and_say_so(self, store: RowStore) -> None:
        self.write(store, "item", ids(1), np.ones((1, DIM), np.float32))
        read = store.read({"item": ids(2, 1), "user": ids(1)})
        assert read["item"].found_N.tolist() == [False, True]
        np.testing.assert_array_equal(read["item"].values_ND, [[0] * DIM, [1] * DIM])
        assert not read["user"].found_N.any()

    def test_tables_do_not_mix(self, store: RowStore) -> None:
        self.write(store, "a", ids(1), np.full((1, DIM), 1, np.float32))
        self.write(store, "b", ids(1), np.full((1, DIM), 2, np.float32))
        read = store.read({"b": ids(1), "a": ids(1)})
        assert read["a"].values_ND[0, 0] == 1
        assert read["b"].values_ND[0, 0] == 2

    def test_each_table_has_its_dimension(self, store: RowStore) -> None:
        self.write(store, "item", ids(1), np.ones((1, DIM), np.float32))
        self.write(store, "wide", ids(1), np.ones((1, 5), np.float32))
        read = store.read({"item": ids(1, 2), "wide": ids(1, 2)})
        assert {table: rows.values_ND.shape for table, rows in read.items()} == {"item": (2, DIM), "wide": (2, 5)}
        assert store.dims == DIMS

    def test_a_row_is_replaced_and_removed(self, store: RowStore) -> None:
        self.write(store, "item", ids(1, 2), np.ones((2, DIM), np.float32))
        self.write(store, "item", ids(1), np.full((1, DIM), 5, np.float32))
        self.remove(store, "item", ids(2, 3))
        read = store.read({"item": ids(1, 2)})["item"]
        assert read.values_ND[0].tolist() == [5] * DIM
        assert read.found_N.tolist() == [True, False]

    def test_nothing_is_read_for_no_ids(self, store: RowStore) -> None:
        assert store.read({}) == {}
        read = store.read({"item": ids()})["item"]
        assert read.values_ND.shape == (0, DIM)
        assert read.found_N.shape == (0,)

    def test_what_was_read_is_the_reader_s_own(self, store: RowStore) -> None:
        self.write(store, "item", ids(1), np.ones((1, DIM), np.float32))
        store.read({"item": ids(1)})["item"].values_ND[:] = 9
        assert store.read({"item": ids(1)})["item"].values_ND[0].tolist() == [1] * DIM

    def test_a_row_of_another_dimension_is_an_error(self, store: RowStore) -> None:
        self.write(store, "item", ids(1), np.ones((1, DIM + 1), np.float32))
        with pytest.raises(ValueError, match="dimension is 3"):
            store.read({"item": ids(1)})
