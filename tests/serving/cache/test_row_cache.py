from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from embedding.store import TableDelta
from recsys.errors import RowsUnavailableError
from serving.cache.row_cache import RowCache
from serving.cache.row_store import EmbeddingRows, Ids, MemoryRows
from tests.serving.fakes import DIM, ids, rows


def _nothing() -> None: ...


class CountingRows(MemoryRows):
    """Counts round trips, can be gone, and can be interrupted in the middle of a read."""

    def __init__(self, dim: int = DIM) -> None:
        super().__init__(dict.fromkeys(("item", "user", "hour", "a", "b"), dim))
        self.reads: list[dict[str, list[int]]] = []
        self.gone = False
        self.before_return: Callable[[], None] = _nothing

    def read(self, ids: Mapping[str, Ids]) -> dict[str, EmbeddingRows]:
        if self.gone:
            raise RowsUnavailableError("gone")
        self.reads.append({table: ids_N.tolist() for table, ids_N in ids.items()})
        found = super().read(ids)
        self.before_return()
        return found


def change(changed: dict[int, float], removed: Ids | None = None) -> TableDelta:
    return TableDelta(ids(*changed), rows(*changed.values()), ids() if removed is None else removed)


def first(cache: RowCache, *wanted: int, table: str = "item") -> list[float]:
    return [float(v) for v in cache.read({table: ids(*wanted)}).rows[table].values_ND[:, 0]]


@pytest.fixture
def store() -> CountingRows:
    made = CountingRows()
    made.write("item", ids(1, 2, 3), rows(1, 2, 3))
    return made


def test_the_store_is_asked_once_for_each_distinct_id(store: CountingRows) -> None:
    cache = RowCache(store, 100)
    assert first(cache, 2, 1, 2) == [2, 1, 2]
    assert first(cache, 1, 3, 2) == [1, 3, 2]
    assert store.reads == [{"item": [1, 2]}, {"item": [3]}]
    assert (cache.hits, cache.misses) == (2, 4)


def test_all_tables_share_a_round_trip(store: CountingRows) -> None:
    store.write("user", ids(1), rows(9))
    reading = RowCache(store, 100).read({"item": ids(1), "user": ids(1)})
    assert reading.rows["user"].values_ND[0, 0] == 9
    assert len(store.reads) == 1


def test_unknown_ids_are_remembered(store: CountingRows) -> None:
    cache = RowCache(store, 100)
    for _ in range(2):
        reading = cache.read({"item": ids(8, 1)})
        assert reading.rows["item"].found_N.tolist() == [False, True]
    assert len(store.reads) == 1


def test_changes_reach_cached_rows_only(store: CountingRows) -> None:
    cache = RowCache(store, 100)
    first(cache, 1, 2, 8)
    cache.apply("item", change({1: 10, 8: 80, 3: 30}, removed=ids(2)))
    assert first(cache, 1, 8) == [10, 80]
    assert cache.read({"item": ids(1, 2, 8)}).rows["item"].found_N.tolist() == [True, False, True]
    assert len(cache) == 3
    assert len(store.reads) == 1


def test_a_store_that_is_gone_leaves_what_is_cached(store: CountingRows) -> None:
    cache = RowCache(store, 100)
    first(cache, 1)
    store.gone = True
    reading = cache.read({"item": ids(1, 2)})
    assert not reading.complete
    assert reading.rows["item"].values_ND[:, 0].tolist() == [1, 0]
    store.gone = False
    assert first(cache, 2) == [2]


def test_a_row_read_while_a_change_arrived_is_not_kept(store: CountingRows) -> None:
    """The read may have seen the row before the change, whose notice has then come before the row is kept."""
    cache = RowCache(store, 100)

    def publish() -> None:
        store.before_return = _nothing
        store.write("item", ids(1), rows(10))
        cache.apply("item", change({1: 10}))

    store.before_return = publish
    assert first(cache, 1) == [1]
    assert first(cache, 1) == [10]


def test_it_stays_within_its_capacity_and_keeps_what_is_used(store: CountingRows) -> None:
    store.write("item", np.arange(1000, dtype=np.uint64), rows(*range(1000)))
    cache = RowCache(store, 100)
    for start in range(0, 1000, 10):
        assert first(cache, 7, *range(start, start + 10)) == [7, *range(start, start + 10)]
        assert len(cache) <= 100
    assert sum(7 in read["item"] for read in store.reads) == 1


def test_a_request_larger_than_the_cache_is_answered(store: CountingRows) -> None:
    store.write("item", np.arange(500, dtype=np.uint64), rows(*range(500)))
    cache = RowCache(store, 10)
    assert first(cache, *range(500)) == list(range(500))
    assert len(cache) <= 10


def test_a_cache_too_small_is_refused(store: CountingRows) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        RowCache(store, 1)


def test_a_change_of_another_dimension_is_refused(store: CountingRows) -> None:
    with pytest.raises(ValueError, match="dimension 5"):
        RowCache(store, 10).apply("item", TableDelta(ids(1), rows(1, dim=5), ids()))


def test_no_reader_sees_half_a_row() -> None:
    """All values of a row are equal in every version, so a torn row would show two."""
    store = CountingRows(dim=64)
    wanted = np.arange(50, dtype=np.uint64)
    store.write("item", wanted, rows(*[0.0] * 50, dim=64))
    cache = RowCache(store, 200)
    cache.read({"item": wanted})
    stop = threading.Event()

    def write() -> None:
        version = 0.0
        while not stop.is_set():
            version += 1
            cache.apply("item", TableDelta(wanted, rows(*[version] * 50, dim=64), ids()))

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    for _ in range(2000):
        values_ND = cache.read({"item": wanted}).rows["item"].values_ND
        assert (values_ND == values_ND[:, :1]).all()
        seen.add(float(values_ND[0, 0]))
    stop.set()
    writer.join()
    assert len(seen) > 2, "the writer never wrote between two reads"


class CacheMachine(RuleBasedStateMachine):
    """Whatever happens, the cache reads as its store does when every change of the store is told."""

    known = st.integers(0, 12)

    def __init__(self) -> None:
        super().__init__()
        self.store = CountingRows()
        self.cache = RowCache(self.store, 8)
        self.version = 0.0

    @rule(table=st.sampled_from(["a", "b"]), wanted=st.lists(known, max_size=6))
    def read(self, table: str, wanted: list[int]) -> None:
        ids_N = ids(*wanted)
        got = self.cache.read({table: ids_N}).rows[table]
        truth = MemoryRows.read(self.store, {table: ids_N})[table]
        np.testing.assert_array_equal(got.values_ND, truth.values_ND)
        np.testing.assert_array_equal(got.found_N, truth.found_N)

    @rule(table=st.sampled_from(["a", "b"]), changed=st.sets(known, max_size=4), removed=st.sets(known, max_size=2))
    def publish(self, table: str, changed: set[int], removed: set[int]) -> None:
        self.version += 1
        gone = ids(*(removed - changed))
        told = change(dict.fromkeys(changed, self.version), gone)
        self.store.write(table, told.ids_U, told.values_UD)
        self.store.remove(table, gone)
        self.cache.apply(table, told)

    @rule()
    def forget(self) -> None:
        self.cache.clear()

    @invariant()
    def bounded(self) -> None:
        assert len(self.cache) <= 8


CacheMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestCacheMachine = CacheMachine.TestCase
