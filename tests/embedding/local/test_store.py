"""What the local store promises beyond the contract."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from embedding.ids.counting_filter import SECTIONS
from embedding.local.store import LocalStore
from embedding.store import Admission, Table
from recsys.errors import InvalidValueError
from tests.embedding import reading

MINUTE = 60_000


def test_a_reader_never_sees_half_a_row_nor_another_ids() -> None:
    reading.check(LocalStore([reading.TABLE]))


def test_a_stream_of_new_ids_stays_within_the_bound_and_fills_it() -> None:
    capacity = 5000
    store = LocalStore([Table("t", 4, capacity=capacity)])
    for step in range(800):
        store.lookup("t", np.arange(step * 25, step * 25 + 25, dtype=np.uint64), step * MINUTE)
        live = store.counters("t")["live"]
        assert live <= capacity
        if step >= 200:
            assert live >= 0.99 * capacity
    counters = store.counters("t")
    assert counters["admitted"] == counters["live"] + counters["evicted"] == 20_000
    assert counters["refused"] == 0
    assert counters["bytes"] <= capacity * (24 + 4 * (4 + 1) + 8) * 1.01


def test_bytes_tell_of_the_admission_filter_too() -> None:
    """Candidates cost memory without having a row."""
    always = LocalStore([Table("t", 4, capacity=5000)])
    counted = LocalStore([Table("t", 4, capacity=5000, admission=Admission("count", 2))])
    candidates = 2 * 5000
    more = counted.counters("t")["bytes"] - always.counters("t")["bytes"]
    assert 4 * candidates <= more < 4 * (candidates + 16 * SECTIONS)


def test_a_consumer_that_never_acknowledges_costs_bounded_memory_and_then_a_resync() -> None:
    store = LocalStore([Table("t", 4, capacity=100)])
    store.subscribe("slow")
    store.lookup("t", np.arange(100, dtype=np.uint64), 0)
    store.acknowledge("slow", store.delta("slow").sequence)
    for step in range(1, 10):
        store.lookup("t", np.arange(step * 100, step * 100 + 100, dtype=np.uint64), step * MINUTE)
    delta = store.delta("slow")
    assert delta.full
    assert sorted(delta.tables["t"].ids_U.tolist()) == list(range(900, 1000))


def test_expiry_can_be_taken_in_steps_between_look_ups() -> None:
    store = LocalStore([Table("t", 4, capacity=300_000, ttl=MINUTE)])
    ids = np.arange(200_000, dtype=np.uint64)
    store.lookup("t", ids, 0)
    gone = []
    for count in store.expiring(10 * MINUTE):
        gone.append(count)
        store.lookup("t", ids[:10], 10 * MINUTE)
    assert sum(gone) > 199_980
    assert len(gone) > 4
    assert max(gone) < 40_000
    assert (store.peek("t", ids[:10]).rows_N >= 0).all()
    assert store.counters("t")["live"] == 10


def test_threads_train_as_one_does() -> None:
    one, two = LocalStore([Table("t", 8)]), LocalStore([Table("t", 8)], threads=2)
    rng = np.random.default_rng(0)
    for step in range(4):
        ids = rng.integers(0, 10**6, 30_000).astype(np.uint64)
        grads = rng.standard_normal((30_000, 8)).astype(np.float32)
        for store in (one, two):
            store.update(store.lookup("t", ids, step), grads)
    assert one.digest() == two.digest()


def test_every_occurrence_is_accounted_for() -> None:
    store = LocalStore([Table("t", 4, capacity=50, admission=Admission("count", 2))])
    rng, looked, trained = np.random.default_rng(0), 0, 0
    for step in range(50):
        found = store.lookup("t", rng.integers(0, 500, 120).astype(np.uint64), step * MINUTE)
        looked += len(found.ids_N)
        trained += int((found.rows_N >= 0).sum())
    counters = store.counters("t")
    assert looked == trained + counters["unadmitted"] + counters["refused"]
    assert counters["live"] == counters["admitted"] - counters["evicted"] == 50


@pytest.mark.parametrize("now", [1.7e9, 1_700_000_000_000.0])
def test_a_time_that_is_no_number_of_milliseconds_is_refused_with_what_to_write(now: Any) -> None:
    with pytest.raises(InvalidValueError, match="write milliseconds since 1970 as an int"):
        LocalStore([Table("t", 4)]).lookup("t", np.zeros(1, np.uint64), now)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ttl": timedelta(days=1)}, "write milliseconds as an int or None"),
        ({"admission": 3}, r'write for example Admission\("count", threshold=3\)'),
    ],
)
def test_settings_of_another_type_are_refused_with_what_to_write(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        LocalStore([Table("t", 4, **settings)])
