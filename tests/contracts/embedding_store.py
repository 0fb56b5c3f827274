"""What every embedding store promises. An implementation subclasses `EmbeddingStoreContract` and gives `make`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from embedding.hashing import fallback_slots, initial_rows, salt_of
from embedding.store import Admission, EmbeddingStore, Floats, Ids, Lookup, Optimizer, Table
from recsys.errors import InvalidValueError, TornCheckpointError
from tests.contracts.store_copy import Copy, follow

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
ADVERSARIAL = {
    "sequential": np.arange(64, dtype=np.uint64),
    "multiples of 2^32": np.arange(64, dtype=np.uint64) << np.uint64(32),
    "equal low bits": (np.arange(64, dtype=np.uint64) << np.uint64(40)) | np.uint64(0xABCDEF),
    "extremes": np.array([0, 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1], np.uint64),
    "negative when signed": np.arange(-64, 0, dtype=np.int64).view(np.uint64),
}


def ids(*values: int) -> Ids:
    return np.array(values, np.uint64)


def ones(lookup: Lookup) -> Floats:
    return np.ones_like(lookup.values_ND)


class EmbeddingStoreContract:
    more_optimizers: tuple[Optimizer, Optimizer] = (Optimizer("adam"), Optimizer("ftrl", lr=0.1))
    """Used beside row-wise Adagrad; a store without these gives others."""

    def make(self, *tables: Table, seed: int = 0) -> EmbeddingStore:
        raise AssertionError("a subclass makes its store here")

    # reading

    def test_a_new_row_depends_on_seed_table_and_id_alone(self) -> None:
        one, other = self.make(Table("t", 4)), self.make(Table("t", 4))
        one.lookup("t", ids(3, 1, 2), 0)
        other.lookup("t", ids(2), 0)
        other.lookup("t", ids(1, 3), 5 * MINUTE)
        np.testing.assert_array_equal(one.peek("t", ids(1, 2, 3)).values_ND, other.peek("t", ids(1, 2, 3)).values_ND)
        expected = initial_rows(ids(1, 2, 3), 4, salt_of(0, "t"), 0.01)
        np.testing.assert_array_equal(one.peek("t", ids(1, 2, 3)).values_ND, expected)
        assert not np.array_equal(self.make(Table("t", 4), seed=1).lookup("t", ids(1, 2, 3), 0).values_ND, expected)
        assert not np.array_equal(self.make(Table("u", 4)).lookup("u", ids(1, 2, 3), 0).values_ND, expected)

    @pytest.mark.parametrize("kind", ADVERSARIAL)
    def test_two_live_ids_never_share_a_row(self, kind: str) -> None:
        store = self.make(Table("t", 4))
        found = store.lookup("t", ADVERSARIAL[kind], 0)
        assert found.rows_N.min() >= 0
        assert len(np.unique(found.rows_N)) == len(found.ids_N) == store.counters("t")["live"]

    def test_repeated_ids_read_one_row(self) -> None:
        found = self.make(Table("t", 4)).lookup("t", ids(5, 6, 5, 5), 0)
        assert found.rows_N[0] == found.rows_N[2] == found.rows_N[3] != found.rows_N[1]
        np.testing.assert_array_equal(found.values_ND[0], found.values_ND[3])

    def test_peek_changes_nothing_and_reads_zeros_for_unknown_ids(self) -> None:
        store = self.make(Table("t", 4))
        before = store.digest()
        found = store.peek("t", ids(1, 2))
        assert found.rows_N.tolist() == [-1, -1]
        assert not found.values_ND.any()
        assert (store.digest(), store.counters("t")["live"]) == (before, 0)

    def test_values_are_a_copy(self) -> None:
        store = self.make(Table("t", 4))
        store.lookup("t", ids(1), 0).values_ND[:] = 7
        assert abs(store.peek("t", ids(1)).values_ND).max() <= 0.01

    def test_the_ids_of_a_look_up_are_a_copy(self) -> None:
        table = Table("t", 4, admission=Admission("count", 2), fallback="multiplexed")
        store, keys = self.make(table), ids(1, 1, 2)
        found = store.lookup("t", keys, 0)
        keys[:] = 3
        before = store.peek("t", ids(3)).values_ND
        store.update(found, ones(found))
        assert found.ids_N.tolist() == [1, 1, 2]
        np.testing.assert_array_equal(store.peek("t", ids(3)).values_ND, before)
        assert (store.peek("t", ids(1, 2)).values_ND != found.values_ND[1:]).all()

    @pytest.mark.parametrize("scale", [0.0, 0.01])
    def test_a_delta_has_what_peek_reads_to_the_bit(self, scale: float) -> None:
        store = self.make(Table("t", 4, init_scale=scale))
        store.subscribe("c")
        store.lookup("t", ids(1, 2, 3), 0)
        cut = store.delta("c").tables["t"]
        assert cut.values_UD.tobytes() == store.peek("t", cut.ids_U).values_ND.tobytes()

    def test_one_time_of_the_year_2100_neither_outlives_nor_expires_the_others(self) -> None:
        store, year = self.make(Table("t", 4, capacity=4, ttl=30 * DAY)), 365 * DAY
        now = 55 * year
        store.lookup("t", ids(1, 2), now)
        store.lookup("t", ids(3), 130 * year)
        assert (store.expire(130 * year), store.counters("t")["ahead"]) == (0, 1)
        store.lookup("t", ids(1, 2), now + DAY)
        store.lookup("t", ids(4, 5), now + 2 * DAY)
        assert store.peek("t", ids(1, 2, 3, 4, 5)).rows_N.min(initial=0) == -1
        assert (store.peek("t", ids(1, 2, 4, 5)).rows_N >= 0).all()
        assert store.expire(now + 40 * DAY) == 4

    def test_a_gap_of_years_in_a_log_is_believed_at_the_second_look(self) -> None:
        store, year = self.make(Table("t", 4, ttl=30 * DAY)), 365 * DAY
        store.lookup("t", ids(1), 0)
        for minute in range(2):
            store.lookup("t", ids(2), 40 * year + minute * MINUTE)
        assert store.expire(40 * year + DAY) == 1
        assert store.peek("t", ids(2)).rows_N[0] >= 0

    def test_an_empty_batch_is_fine(self) -> None:
        store = self.make(Table("t", 4))
        found = store.lookup("t", ids(), 0)
        assert found.values_ND.shape == (0, 4)
        store.update(found, np.zeros((0, 4), np.float32))
        assert store.peek("t", ids()).values_ND.shape == (0, 4)
        assert store.counters("t")["live"] == store.expire(DAY) == 0

    @pytest.mark.slow
    def test_one_id_a_million_times(self) -> None:
        store = self.make(Table("t", 4, optimizer=Optimizer("adagrad", lr=1.0, eps=0.0)))
        found = store.lookup("t", np.full(10**6, 9, np.uint64), 0)
        store.update(found, np.full((10**6, 4), 2**-10, np.float32))
        assert store.counters("t")["live"] == 1
        assert np.unique(found.rows_N).tolist() == [0]
        np.testing.assert_allclose(store.peek("t", ids(9)).values_ND[0], found.values_ND[0] - 1, atol=1e-6)

    # training

    def test_gradients_of_a_repeated_id_are_summed_before_the_step(self) -> None:
        one, other = self.make(Table("t", 4)), self.make(Table("t", 4))
        found = one.lookup("t", ids(1, 2, 1), 0)
        one.update(found, np.array([[1, 2, 3, 4], [1, 1, 1, 1], [4, 3, 2, 2]], np.float32))
        found = other.lookup("t", ids(1, 2), 0)
        other.update(found, np.array([[5, 5, 5, 6], [1, 1, 1, 1]], np.float32))
        np.testing.assert_array_equal(one.peek("t", ids(1, 2)).values_ND, other.peek("t", ids(1, 2)).values_ND)

    def test_rowwise_adagrad_as_fbgemm_defines_it(self) -> None:
        store = self.make(Table("t", 2, optimizer=Optimizer("rowwise_adagrad", lr=0.5, eps=1e-4)))
        w, state = store.lookup("t", ids(1), 0).values_ND[0].astype(float), 0.0
        for g in ([1.0, -3.0], [0.5, 0.25], [0.0, 0.0]):
            store.update(store.lookup("t", ids(1), 0), np.array([g], np.float32))
            state += float(np.mean(np.square(g)))
            w = w - 0.5 * np.array(g) / (np.sqrt(state) + 1e-4)
        np.testing.assert_allclose(store.peek("t", ids(1)).values_ND[0], w, atol=1e-6)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e20])
    @pytest.mark.parametrize("rule", [0, 1, 2])
    def test_a_step_that_would_not_be_finite_is_skipped_and_counted(self, value: float, rule: int) -> None:
        """Of two ids, one twice; the row can learn afterwards as if nothing had happened."""
        optimizer = (Optimizer(), *self.more_optimizers)[rule]
        one, other = (self.make(Table("t", 4, optimizer=optimizer)) for _ in range(2))
        grads = np.ones((3, 4), np.float32)
        grads[2, 1] = value
        found = one.lookup("t", ids(1, 2, 1), 0)
        one.update(found, grads)
        np.testing.assert_array_equal(one.peek("t", ids(1)).values_ND[0], found.values_ND[0])
        assert one.counters("t")["nonfinite"] == 1
        found = other.lookup("t", ids(1, 2, 1), 0)
        other.update(found, np.array([[0] * 4, [1] * 4, [0] * 4], np.float32))
        for store in (one, other):
            found = store.lookup("t", ids(1, 2), 0)
            store.update(found, ones(found))
        assert other.counters("t")["nonfinite"] == 0
        assert np.isfinite(one.peek("t", ids(1, 2)).values_ND).all()
        np.testing.assert_array_equal(one.peek("t", ids(1, 2)).values_ND, other.peek("t", ids(1, 2)).values_ND)

    def test_shared_rows_stay_finite_too(self) -> None:
        table = Table("t", 4, admission=Admission("count", 9), fallback="multiplexed")
        store = self.make(table)
        found = store.lookup("t", ids(1, 2), 0)
        grads = ones(found)
        grads[0, 3] = np.nan
        store.update(found, grads)
        after = store.peek("t", ids(1, 2)).values_ND
        np.testing.assert_array_equal(after[0], found.values_ND[0])
        assert (after[1] != found.values_ND[1]).all()
        assert store.counters("t")["nonfinite"] == 1

    def test_an_update_after_the_id_went_trains_nobody_and_is_counted(self) -> None:
        store = self.make(Table("t", 4, capacity=2, ttl=DAY))
        old = store.lookup("t", ids(1, 2, 1), 0)
        assert store.expire(3 * DAY) == 2
        before = store.lookup("t", ids(7, 8), 3 * DAY).values_ND
        store.update(old, ones(old))
        np.testing.assert_array_equal(store.peek("t", ids(7, 8)).values_ND, before)
        assert store.counters("t")["stale"] == 3

    def test_a_look_up_of_another_store_trains_by_id(self) -> None:
        one, other = self.make(Table("t", 4)), self.make(Table("t", 4))
        found = one.lookup("t", ids(1, 2), 0)
        other.lookup("t", ids(2, 1), 0)
        grads = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.float32)
        other.update(found, grads)  # first, while the look-up remembers everything about the store that made it
        one.update(found, grads)
        assert other.digest() == one.digest()

    def test_a_look_up_from_before_a_restore_trains_by_id(self, tmp_path: Path) -> None:
        store, other = self.make(Table("t", 4, capacity=8)), self.make(Table("t", 4, capacity=8))
        for each in (store, other):
            each.lookup("t", ids(3, 2, 1), 0)
        store.save(tmp_path)
        found = store.lookup("t", ids(2, 9), 0)
        store.load(tmp_path)
        grads = ones(found)
        store.update(found, grads)
        other.update(other.lookup("t", ids(2), 0), grads[:1])
        assert store.counters("t")["stale"] == 1
        every = ids(1, 2, 3, 9)
        np.testing.assert_array_equal(store.peek("t", every).values_ND, other.peek("t", every).values_ND)

    # admission

    def test_an_id_is_admitted_when_seen_threshold_times(self) -> None:
        store = self.make(Table("t", 4, admission=Admission("count", 3)))
        assert store.lookup("t", ids(1, 2, 1), 0).rows_N.tolist() == [-1, -1, -1]
        found = store.lookup("t", ids(1, 2), 0)
        assert found.rows_N[0] >= 0 > found.rows_N[1]
        counters = store.counters("t")
        assert (counters["live"], counters["admitted"], counters["unadmitted"]) == (1, 1, 4)

    def test_an_unadmitted_id_is_not_trained(self) -> None:
        store = self.make(Table("t", 4, admission=Admission("count", 2)))
        found = store.lookup("t", ids(1), 0)
        assert not found.values_ND.any()
        store.update(found, ones(found))
        second = store.lookup("t", ids(1), 0)
        np.testing.assert_array_equal(second.values_ND, initial_rows(ids(1), 4, salt_of(0, "t"), 0.01))

    def test_probabilistic_admission_lets_95_percent_in_after_threshold_sightings(self) -> None:
        many = np.arange(4000, dtype=np.uint64)
        store = self.make(Table("t", 4, admission=Admission("probabilistic", 4)))
        live = []
        for _ in range(4):
            store.lookup("t", many, 0)
            live.append(store.counters("t")["live"] / len(many))
        p = 1 - 0.05 ** (1 / 4)
        np.testing.assert_allclose(live, [1 - (1 - p) ** k for k in (1, 2, 3, 4)], atol=0.03)

    def test_an_id_that_went_is_counted_from_zero_again(self) -> None:
        store = self.make(Table("t", 4, ttl=DAY, admission=Admission("count", 2)))
        store.lookup("t", ids(1, 1), 0)
        assert store.expire(2 * DAY) == 1
        assert store.lookup("t", ids(1), 2 * DAY).rows_N.tolist() == [-1]

    def test_multiplexed_fallback_is_read_and_learns(self) -> None:
        never = Admission("count", 200)
        tables = [Table("a", 4, admission=never, fallback="multiplexed"), Table("b", 4, fallback="zeros")]
        store = self.make(*tables)
        found = store.lookup("a", ids(1, 2), 0)
        assert found.rows_N.tolist() == [-1, -1]
        assert found.values_ND.any(axis=1).all()
        store.update(found, ones(found))
        assert (store.peek("a", ids(1, 2)).values_ND < found.values_ND).all()
        assert not store.peek("b", ids(1)).values_ND.any()

    def test_without_admission_all_ids_read_and_train_shared_rows_of_the_given_number(self, tmp_path: Path) -> None:
        table = Table("a", 4, admission=Admission("never"), fallback="multiplexed", fallback_rows=8)
        tables = [table, replace(table, name="b"), replace(table, name="other", fallback_rows=9)]
        store, again, held = self.make(*tables), self.make(*tables), Copy()
        store.subscribe("c")
        many = np.arange(500, dtype=np.uint64)
        found = store.lookup("a", many, 0)
        assert (found.rows_N == -1).all()
        assert len(np.unique(found.values_ND, axis=0)) == 8
        before = store.peek("other", many).values_ND
        store.update(found, ones(found))
        assert (store.peek("a", many).values_ND < found.values_ND).all()
        assert len(np.unique(np.concatenate([store.peek(name, many).values_ND for name in "ab"]), axis=0)) == 8
        np.testing.assert_array_equal(store.peek("other", many).values_ND, before)
        follow(store, "c", held)
        assert {name: one.slots for name, one in held.fallback.items()} == {"a": 8, "b": 8, "other": 9}
        assert held.read("a", many, 4) == store.peek("a", many).values_ND.tolist()
        assert store.counters("a")["live"] == 0
        store.save(tmp_path / "s")
        again.load(tmp_path / "s")
        assert again.digest() == store.digest()
        other = self.make(*(replace(one, fallback_rows=7) for one in tables))
        with pytest.raises(InvalidValueError, match="multiplexed rows of tables a, b is 8 in the checkpoint, 7"):
            other.load(tmp_path / "s")

    # expiry and the memory bound

    def test_ids_not_seen_within_ttl_expire(self) -> None:
        store = self.make(Table("t", 4, ttl=DAY), Table("forever", 4))
        store.lookup("t", ids(1, 2), 0)
        store.lookup("forever", ids(1), 0)
        store.lookup("t", ids(2), DAY)
        assert store.expire(DAY) == 0
        assert store.expire(DAY + MINUTE) == 1
        assert store.peek("t", ids(1, 2)).rows_N.tolist()[0] == -1
        assert store.peek("forever", ids(1)).rows_N[0] >= 0
        assert store.counters("t")["expired"] == 1

    def test_forgotten_ids_are_gone_at_once_and_may_come_back_as_new_ones(self) -> None:
        store, fresh = self.make(Table("t", 4), Table("u", 4)), self.make(Table("t", 4))
        store.subscribe("c")
        copy = Copy()
        for table in ("t", "u"):
            found = store.lookup(table, ids(1, 2, 3), DAY)
            store.update(found, ones(found))
        follow(store, "c", copy)
        assert store.forget("t", ids(3, 1, 9, 3)) == 2
        assert store.peek("t", ids(1, 2, 3)).rows_N.tolist() == [-1, found.rows_N[1], -1]
        assert not store.peek("t", ids(1, 3)).values_ND.any()
        assert (store.peek("u", ids(1, 2, 3)).rows_N >= 0).all()
        assert sorted(follow(store, "c", copy).tables["t"].removed.tolist()) == [1, 3]
        assert sorted(copy.tables["t"]) == [2]
        counters = store.counters("t")
        assert (counters["live"], counters["erased"]) == (1, 2)
        assert store.forget("t", ids(3, 1, 9, 3)) == 0
        again = store.lookup("t", ids(1), 0).values_ND
        np.testing.assert_array_equal(again, fresh.lookup("t", ids(1), 0).values_ND)

    def test_sightings_of_a_forgotten_id_do_not_count(self) -> None:
        store = self.make(Table("t", 4, admission=Admission("count", 3)))
        store.lookup("t", ids(1, 1), 0)
        assert store.forget("t", ids(1)) == 0
        assert store.lookup("t", ids(1), 0).rows_N.tolist() == [-1]

    @pytest.mark.parametrize("kind", ADVERSARIAL)
    def test_forgetting_some_of_many_leaves_the_others(self, kind: str) -> None:
        store, every = self.make(Table("t", 4)), ADVERSARIAL[kind]
        store.lookup("t", every, 0)
        assert store.forget("t", every[::2]) == len(every[::2])
        assert (store.peek("t", every).rows_N >= 0).tolist() == [n % 2 == 1 for n in range(len(every))]

    def test_a_late_event_does_not_make_an_id_older(self) -> None:
        store = self.make(Table("t", 4, ttl=DAY))
        store.lookup("t", ids(1), 5 * DAY)
        store.lookup("t", ids(1), 2 * DAY)
        assert store.expire(5 * DAY + 1) == 0

    def test_a_row_is_reused_only_after_weights_and_optimizer_state_are_reset(self) -> None:
        table = Table("t", 4, capacity=1, ttl=DAY, optimizer=Optimizer("adagrad", lr=1.0))
        store, fresh = self.make(table), self.make(table)
        first = store.lookup("t", ids(1), 0)
        store.update(first, ones(first))
        store.expire(2 * DAY)
        for each in (store, fresh):
            found = each.lookup("t", ids(2), 2 * DAY)
            each.update(found, ones(found))
        np.testing.assert_array_equal(store.peek("t", ids(2)).values_ND, fresh.peek("t", ids(2)).values_ND)

    def test_at_the_bound_expired_ids_go_first(self) -> None:
        store = self.make(Table("t", 4, capacity=4, ttl=DAY))
        store.lookup("t", ids(1, 2), 0)
        store.lookup("t", ids(3, 4), DAY)
        store.lookup("t", ids(5), DAY + MINUTE)
        assert (store.peek("t", ids(1, 2, 3, 4, 5)).rows_N >= 0).tolist() == [False, False, True, True, True]
        counters = store.counters("t")
        assert (counters["expired"], counters["evicted"]) == (2, 0)

    def test_at_the_bound_the_coldest_go_next(self) -> None:
        store = self.make(Table("t", 4, capacity=4))
        store.lookup("t", ids(1, 1), 0)
        store.lookup("t", ids(2), 0)
        store.lookup("t", ids(3, 4), MINUTE)
        store.lookup("t", ids(5), MINUTE)
        assert (store.peek("t", ids(1, 2, 3, 4, 5)).rows_N >= 0).tolist() == [True, False, True, True, True]
        store.lookup("t", ids(6), MINUTE)
        assert store.peek("t", ids(1)).rows_N[0] == -1
        assert store.counters("t")["evicted"] == 2

    def test_a_batch_larger_than_the_table_refuses_and_counts(self) -> None:
        store = self.make(Table("t", 4, capacity=3))
        store.lookup("t", ids(1, 2), 0)
        found = store.lookup("t", ids(1, 10, 11, 12, 12), 9 * MINUTE)
        assert (found.rows_N >= 0).tolist() == [True, True, True, False, False]
        counters = store.counters("t")
        assert (counters["live"], counters["refused"], counters["evicted"]) == (3, 2, 1)

    @pytest.mark.parametrize("kind", ADVERSARIAL)
    def test_ten_expire_refill_cycles_at_full_capacity(self, kind: str) -> None:
        base = ADVERSARIAL[kind]
        store = self.make(Table("t", 4, capacity=len(base), ttl=DAY, optimizer=Optimizer("adagrad", lr=0.1)))
        gone = np.zeros(0, np.uint64)
        for cycle in range(10):
            mine = base ^ np.uint64(cycle << 20)
            now = cycle * 10 * DAY
            found = store.lookup("t", mine, now)  # in odd cycles this is what makes those before expire
            assert sorted(found.rows_N.tolist()) == list(range(len(mine)))
            np.testing.assert_array_equal(found.values_ND, initial_rows(mine, 4, salt_of(0, "t"), 0.01))
            before = store.peek("t", gone)
            assert (before.rows_N == -1).all()
            assert not before.values_ND.any()
            store.update(found, ones(found))
            after = store.peek("t", mine).values_ND
            np.testing.assert_allclose(after, found.values_ND - 0.1, atol=1e-6)
            if cycle % 2:
                assert store.expire(now + 2 * DAY) == len(mine)
            gone = mine
        counters, total = store.counters("t"), 10 * len(base)
        assert (counters["live"], counters["admitted"], counters["expired"]) == (0, total, total)
        assert not any(counters[why] for why in ("evicted", "refused", "unadmitted", "stale"))

    # deltas

    def test_first_delta_is_full_and_the_next_only_what_changed(self) -> None:
        store = self.make(Table("t", 4))
        store.lookup("t", ids(1, 2), 0)
        store.subscribe("c")
        first = store.delta("c")
        assert (first.sequence, first.full, sorted(first.tables["t"].ids_U.tolist())) == (1, True, [1, 2])
        store.acknowledge("c", 1)
        found = store.lookup("t", ids(2, 3), 0)
        store.update(found, ones(found))
        second = store.delta("c")
        assert (second.sequence, second.full, sorted(second.tables["t"].ids_U.tolist())) == (2, False, [2, 3])
        for key, value in zip(second.tables["t"].ids_U, second.tables["t"].values_UD, strict=True):
            np.testing.assert_array_equal(value, store.peek("t", ids(int(key))).values_ND[0])

    def test_a_delta_is_the_same_until_acknowledged_and_nothing_in_between_is_lost(self) -> None:
        store = self.make(Table("t", 4))
        store.subscribe("c")
        store.lookup("t", ids(1), 0)
        first = store.delta("c")
        values = first.tables["t"].values_UD.copy()
        store.update(store.lookup("t", ids(1), 0), np.ones((1, 4), np.float32))
        again = store.delta("c")
        assert again.sequence == first.sequence
        np.testing.assert_array_equal(again.tables["t"].values_UD, values)
        store.acknowledge("c", first.sequence)
        assert store.delta("c").tables["t"].ids_U.tolist() == [1]

    def test_ids_that_went_are_tombstones_until_acknowledged_by_each_consumer(self) -> None:
        store = self.make(Table("t", 4, ttl=DAY))
        for consumer in ("a", "b"):
            store.subscribe(consumer)
        store.lookup("t", ids(1, 2), 0)
        for consumer in ("a", "b"):
            store.acknowledge(consumer, store.delta(consumer).sequence)
        store.lookup("t", ids(2), 2 * DAY)
        store.expire(2 * DAY)
        for _ in range(2):
            assert store.delta("a").tables["t"].removed.tolist() == [1]
        store.acknowledge("a", 2)
        assert store.delta("a").tables["t"].removed.tolist() == []
        assert store.delta("b").tables["t"].removed.tolist() == [1]

    def test_an_id_that_went_and_came_back_is_no_tombstone(self) -> None:
        store = self.make(Table("t", 4, ttl=DAY))
        store.subscribe("c")
        store.lookup("t", ids(1), 0)
        store.acknowledge("c", store.delta("c").sequence)
        store.expire(2 * DAY)
        store.lookup("t", ids(1), 2 * DAY)
        delta = store.delta("c").tables["t"]
        assert (delta.ids_U.tolist(), delta.removed.tolist()) == ([1], [])

    def test_subscribing_again_resyncs_in_full_with_later_numbers(self) -> None:
        store = self.make(Table("t", 4))
        store.subscribe("c")
        store.lookup("t", ids(1), 0)
        store.delta("c")
        store.subscribe("c")
        delta = store.delta("c")
        assert (delta.sequence, delta.full, delta.tables["t"].ids_U.tolist()) == (2, True, [1])
        store.acknowledge("c", 1)
        assert store.delta("c").sequence == 2

    @pytest.mark.parametrize("fallback", ["zeros", "multiplexed"])
    def test_a_consumer_that_applies_deltas_holds_the_store(self, fallback: Literal["zeros", "multiplexed"]) -> None:
        twice = Admission("count", 2)
        tables = [Table("t", 2, capacity=20, ttl=DAY, fallback=fallback), Table("u", 2, 20, admission=twice)]
        store = self.make(tables[0], replace(tables[1], fallback=fallback))
        store.subscribe("c")
        held = Copy()
        rng, every = np.random.default_rng(0), np.arange(100, dtype=np.uint64)
        for step in range(40):
            for name in store.tables:
                found = store.lookup(name, rng.integers(0, 60, 8).astype(np.uint64), step * DAY // 4)
                store.update(found, rng.standard_normal((8, 2)).astype(np.float32))
            if step % 5 == 0:
                store.expire(step * DAY // 4)
            if step % 3 == 0:
                follow(store, "c", held)
                for name in store.tables:
                    now = store.peek(name, every)
                    assert sorted(held.tables[name]) == every[now.rows_N >= 0].tolist()
                    assert held.read(name, every, 2) == now.values_ND.tolist()
                    assert now.values_ND[now.rows_N < 0].any() == (fallback == "multiplexed")

    SHARING = (
        Table("a", 4, admission=Admission("count", 200), fallback="multiplexed"),
        Table("b", 4, admission=Admission("count", 200), fallback="multiplexed"),
        Table("c", 3, fallback="zeros"),
    )

    def learn(self, store: EmbeddingStore, table: str, ids_N: Ids) -> None:
        found = store.lookup(table, ids_N, 0)
        store.update(found, ones(found))

    def test_tables_of_a_dimension_and_optimizer_share_rows_that_the_first_delta_has_whole(self) -> None:
        store = self.make(*self.SHARING)
        store.subscribe("c")
        first = store.delta("c")
        a, b = first.fallback.pop("a"), first.fallback.pop("b")
        assert (first.fallback, a.rows, a.slots) == ({}, b.rows, b.slots)
        assert a.salt != b.salt
        assert a.rows not in store.tables
        assert sorted(first.tables[a.rows].ids_U.tolist()) == list(range(a.slots))

    def test_shared_rows_that_changed_are_told_once_and_again_until_acknowledged(self) -> None:
        store, held = self.make(*self.SHARING), Copy()
        store.subscribe("c")
        follow(store, "c", held)
        shared = held.fallback["a"].rows
        self.learn(store, "a", ids(7))
        told = store.delta("c").tables[shared]
        (slot,) = fallback_slots(ids(7), np.uint64(held.fallback["a"].salt), held.fallback["a"].slots)
        assert (told.ids_U.tolist(), told.removed.tolist()) == ([slot], [])
        values = told.values_UD.copy()
        self.learn(store, "b", ids(8))
        np.testing.assert_array_equal(store.delta("c").tables[shared].values_UD, values)
        follow(store, "c", held)
        assert held.read("a", ids(7), 4) == store.peek("a", ids(7)).values_ND.tolist()
        assert len(follow(store, "c", held).tables[shared].ids_U) == 1
        assert held.read("b", ids(8), 4) == store.peek("b", ids(8)).values_ND.tolist()
        assert len(follow(store, "c", held).tables[shared].ids_U) == 0

    def test_after_a_gap_a_full_delta_has_the_shared_rows_as_they_are(self) -> None:
        store, held = self.make(*self.SHARING), Copy()
        store.subscribe("c")
        follow(store, "c", held)
        for key in (1, 2):
            self.learn(store, "a", ids(key))
            missed = store.delta("c")
            store.acknowledge("c", missed.sequence)
        assert not held.follower.accepts(missed)
        store.subscribe("c")
        assert follow(store, "c", held).full
        assert held.read("a", ids(1, 2, 3), 4) == store.peek("a", ids(1, 2, 3)).values_ND.tolist()

    def test_numbers_given_out_again_after_an_older_snapshot_are_noticed(self, tmp_path: Path) -> None:
        """Whether the follower is at the number that comes again, behind it, or beyond it."""
        for ahead in (1, 2):
            store, held = self.make(Table("t", 4)), Copy()
            store.subscribe("c")
            store.lookup("t", ids(1), 0)
            follow(store, "c", held)
            store.save(tmp_path / str(ahead))
            for key in range(ahead):
                store.lookup("t", ids(10 + key), 0)
                follow(store, "c", held)
            store.load(tmp_path / str(ahead))
            store.lookup("t", ids(20), 0)
            again = store.delta("c")
            assert (again.sequence, again.full) == (2, False)
            assert not held.follower.accepts(again)
            store.subscribe("c")
            follow(store, "c", held)
            assert held.tables["t"].keys() == {1, 20}

    def test_a_follower_goes_on_after_a_restore_that_lost_nothing(self, tmp_path: Path) -> None:
        store, held = self.make(Table("t", 4)), Copy()
        store.subscribe("c")
        follow(store, "c", held)
        store.lookup("t", ids(1), 0)
        held.apply(store.delta("c"))  # its acknowledgement is lost
        store.save(tmp_path / "s")
        for key in (2, 3):
            store.load(tmp_path / "s")
            held.apply(store.delta("c"))
            store.acknowledge("c", 2)
            store.lookup("t", ids(key), 0)
        assert not follow(store, "c", held).full
        assert held.tables["t"].keys() == {1, 3}

    # snapshots

    def train(self, store: EmbeddingStore, steps: int, start: int = 0) -> None:
        for step in range(start, start + steps):
            rng = np.random.default_rng(step)
            for name, table in store.tables.items():
                found = store.lookup(name, rng.integers(0, 50, 12).astype(np.uint64), step * DAY // 3)
                store.update(found, rng.standard_normal((12, table.dim)).astype(np.float32))
            store.expire(step * DAY // 3)

    def everything(self) -> tuple[Table, ...]:
        one, other = self.more_optimizers
        return (
            Table("plain", 4, capacity=30, ttl=2 * DAY),
            Table("counted", 3, optimizer=one, admission=Admission("count", 3), fallback="multiplexed"),
            Table("drawn", 5, optimizer=other, admission=Admission("probabilistic", 4)),
        )

    def test_a_restored_store_goes_on_as_if_nothing_happened(self, tmp_path: Path) -> None:
        store, other = self.make(*self.everything()), self.make(*self.everything())
        store.subscribe("c")
        self.train(store, 10)
        store.acknowledge("c", store.delta("c").sequence)
        self.train(store, 3, start=10)
        pending = store.delta("c")
        self.train(store, 3, start=13)
        store.save(tmp_path / "s")
        other.lookup("plain", ids(999), 0)
        other.load(tmp_path / "s")
        assert other.digest() == store.digest()
        self.train(store, 10, start=16)
        self.train(other, 10, start=16)
        assert other.digest() == store.digest()
        for name in store.tables:
            mine, theirs = store.counters(name), other.counters(name)
            assert {k: v for k, v in mine.items() if k not in ("bytes", "rows")} == {
                k: v for k, v in theirs.items() if k not in ("bytes", "rows")
            }
        again = other.delta("c")
        assert again.sequence == pending.sequence
        np.testing.assert_array_equal(again.tables["plain"].values_UD, pending.tables["plain"].values_UD)
        for each in (store, other):
            each.acknowledge("c", pending.sequence)
        assert again.fallback == pending.fallback == store.delta("c").fallback != {}
        assert again.tables.keys() == pending.tables.keys() > store.tables.keys()
        for name in pending.tables:
            np.testing.assert_array_equal(again.tables[name].values_UD, pending.tables[name].values_UD)
            mine_d, theirs_d = store.delta("c").tables[name], other.delta("c").tables[name]
            assert sorted(mine_d.ids_U.tolist()) == sorted(theirs_d.ids_U.tolist())
            assert sorted(mine_d.removed.tolist()) == sorted(theirs_d.removed.tolist())

    @pytest.mark.parametrize("now", ["zeros", "multiplexed"])
    def test_a_table_may_get_or_lose_its_fallback_between_snapshots(
        self, tmp_path: Path, now: Literal["zeros", "multiplexed"]
    ) -> None:
        before: Literal["zeros", "multiplexed"] = "zeros" if now == "multiplexed" else "multiplexed"
        old = self.make(*(replace(table, fallback=before) for table in self.SHARING))
        held = Copy()
        old.subscribe("c")
        self.learn(old, "a", ids(1))
        follow(old, "c", held)
        self.learn(old, "c", ids(1))
        old.save(tmp_path / "s")
        new = self.make(*(replace(table, fallback=now) for table in self.SHARING))
        new.load(tmp_path / "s")
        self.learn(new, "a", ids(2))
        assert follow(new, "c", held).full
        for name, dim in (("a", 4), ("c", 3)):
            assert held.read(name, ids(1, 2, 3), dim) == new.peek(name, ids(1, 2, 3)).values_ND.tolist()
        assert bool(held.fallback) == (now == "multiplexed")

    def test_digest_knows_the_shared_rows(self) -> None:
        one, other = self.make(*self.SHARING), self.make(*self.SHARING)
        found = [store.lookup("a", ids(1), 0) for store in (one, other)]
        assert one.digest() == other.digest()
        one.update(found[0], ones(found[0]))
        assert one.digest() != other.digest()
        other.update(found[1], ones(found[1]))
        assert one.digest() == other.digest()

    def test_restored_with_less_capacity_the_warmest_stay_and_consumers_hear_of_the_others(
        self, tmp_path: Path
    ) -> None:
        store, small = self.make(Table("t", 4, capacity=40)), self.make(Table("t", 4, capacity=10))
        for minute in range(10):
            store.lookup("t", ids(2 * minute, 2 * minute + 1), minute * MINUTE)
        store.lookup("t", ids(11), 5 * MINUTE)
        store.subscribe("c")
        store.acknowledge("c", store.delta("c").sequence)
        store.lookup("t", ids(1), 0)
        store.save(tmp_path)
        small.load(tmp_path)
        assert small.delta("c").tables["t"].removed.tolist() == list(range(10))
        every = np.arange(20, dtype=np.uint64)
        now = small.peek("t", every)
        assert (now.rows_N >= 0).tolist() == [False] * 10 + [True] * 10
        np.testing.assert_array_equal(now.values_ND[10:], store.peek("t", every[10:]).values_ND)
        assert (small.counters("t")["evicted"], small.counters("t")["live"]) == (10, 10)
        small.lookup("t", ids(20), 20 * MINUTE)
        assert small.peek("t", ids(10, 11)).rows_N.argmin() == 0, "clocks and frequencies came along"

    def test_silence_for_longer_than_the_table_holds_is_remembered_by_a_snapshot(self, tmp_path: Path) -> None:
        store, other = self.make(Table("t", 4, capacity=4)), self.make(Table("t", 4, capacity=4))
        store.subscribe("c")
        store.lookup("t", ids(1, 2, 3, 4), 0)
        held = set(store.delta("c").tables["t"].ids_U.tolist())
        store.acknowledge("c", 1)
        for minute in range(1, 5):
            store.lookup("t", np.arange(4, dtype=np.uint64) + np.uint64(10 * minute), minute * MINUTE)
        store.save(tmp_path)
        other.load(tmp_path)
        delta = other.delta("c")
        held = set() if delta.full else held - set(delta.tables["t"].removed.tolist())
        assert held | set(delta.tables["t"].ids_U.tolist()) == {40, 41, 42, 43}

    def test_digest_knows_neither_row_numbers_nor_order(self) -> None:
        one, other = self.make(Table("t", 4, ttl=DAY)), self.make(Table("t", 4, ttl=DAY))
        one.lookup("t", ids(7, 8), 0)
        one.expire(2 * DAY)
        one.lookup("t", ids(1, 2, 3), 2 * DAY)
        other.lookup("t", ids(3), 2 * DAY)
        other.lookup("t", ids(2, 1), 2 * DAY)
        assert one.digest() == other.digest()
        found = other.lookup("t", ids(1), 2 * DAY)
        assert one.digest() != other.digest()
        one.lookup("t", ids(1), 2 * DAY)
        assert one.digest() == other.digest()
        other.update(found, ones(found))
        assert one.digest() != other.digest()

    def test_a_snapshot_of_other_tables_is_refused(self, tmp_path: Path) -> None:
        self.make(Table("t", 4)).save(tmp_path / "s")
        for other in (Table("u", 4), Table("t", 8), Table("t", 4, optimizer=self.more_optimizers[0])):
            with pytest.raises(InvalidValueError, match=r"in the checkpoint|only the checkpoint"):
                self.make(other).load(tmp_path / "s")
        with pytest.raises(InvalidValueError, match="seed"):
            self.make(Table("t", 4), seed=1).load(tmp_path / "s")

    @pytest.mark.parametrize("hurt", ["flipped", "cut", "missing"])
    def test_a_damaged_snapshot_is_refused_by_name_and_changes_nothing(self, hurt: str, tmp_path: Path) -> None:
        store = self.make(*self.everything())
        store.subscribe("c")
        self.train(store, 4)
        store.save(tmp_path)
        self.train(store, 2, start=4)
        before = store.digest()
        files = sorted(tmp_path.iterdir())
        assert len(files) > len(store.tables), "a file for each table, and the manifest"
        for path in files:
            whole = path.read_bytes()
            if hurt == "missing":
                path.unlink()
            else:
                middle = len(whole) // 2
                path.write_bytes(whole[:middle] + (bytes([whole[middle] ^ 8]) + whole[middle + 1 :]) * (hurt != "cut"))
            with pytest.raises(TornCheckpointError, match=re.escape(str(path))):
                store.load(tmp_path)
            assert store.digest() == before
            path.write_bytes(whole)
        store.load(tmp_path)
        assert store.digest() != before

    # bad input changes nothing

    def test_bad_input_is_a_clear_error_before_anything_changes(self) -> None:
        store = self.make(Table("t", 4))
        found = store.lookup("t", ids(1, 2), 0)
        before, counters = store.digest(), store.counters("t")
        for bad, message in (
            (lambda: store.lookup("nope", ids(1), 0), "nope"),
            (lambda: store.peek("nope", ids(1)), "nope"),
            (lambda: store.lookup("t", np.array([1], np.int64), 0), "uint64"),
            (lambda: store.lookup("t", np.zeros((2, 2), np.uint64), 0), "uint64"),
            (lambda: store.lookup("t", [1], 0), "uint64"),  # type: ignore[arg-type]
            (lambda: store.lookup("t", ids(1), -1), "1970"),
            (lambda: store.update(found, np.ones((2, 5), np.float32)), "gradients"),
            (lambda: store.update(found, np.ones((3, 4), np.float32)), "gradients"),
            (lambda: store.update(found, np.ones((2, 4), np.float64)), "gradients"),
            (lambda: store.update(found, [[1.0] * 4] * 2), "gradients"),  # type: ignore[arg-type]
            (lambda: store.update(replace(found, table="nope"), ones(found)), "nope"),
            (lambda: store.peek("t", np.array([1.0])), "uint64"),
            (lambda: store.expire(-1), "1970"),
            (lambda: store.delta("nobody"), "subscribe"),
            (lambda: store.acknowledge("nobody", 1), "subscribe"),
            (lambda: store.counters("nope"), "nope"),
        ):
            with pytest.raises(InvalidValueError, match=message):
                bad()
        assert store.digest() == before
        assert store.counters("t") == counters
        store.subscribe("c")
        with pytest.raises(InvalidValueError, match="subscribe again"):
            store.acknowledge("c", 3)

    @pytest.mark.parametrize(
        ("tables", "message"),
        [
            ((Table("t", 4), Table("t", 4)), "duplicate table"),
            ((Table("t", 0),), "dim"),
            ((Table("t", 4, capacity=0),), "capacity"),
            ((Table("t", 4, ttl=-1),), "ttl"),
            ((Table("t", 4, optimizer=Optimizer("sgd")),), "sgd"),  # type: ignore[arg-type]
            ((Table("t", 4, optimizer=Optimizer(l1=1.0)),), "ftrl"),
            ((Table("t", 4, optimizer=Optimizer(lr=0.0)),), "lr"),
            ((Table("t", 4, admission=Admission("count", 0)),), "threshold"),
            ((Table("t", 4, admission=Admission("maybe")),), "maybe"),  # type: ignore[arg-type]
            ((Table("t", 4, fallback="magic"),), "magic"),  # type: ignore[arg-type]
            ((Table("t", 4, fallback_rows=0),), "fallback_rows"),
            ((Table("t", 4, admission=Admission("never")),), "set fallback to multiplexed"),
            ((Table("fallback.4", 4),), "another name"),
        ],
    )
    def test_tables_that_cannot_work_are_refused(self, tables: tuple[Table, ...], message: str) -> None:
        with pytest.raises(InvalidValueError, match=message):
            self.make(*tables)
