"""The counting filter's stated errors, measured."""

from __future__ import annotations

import numpy as np
import pytest

from embedding.hashing import mix
from embedding.ids.admission import AdmissionPolicy, ExactCounts
from embedding.ids.counting_filter import CountingFilter, bounded_policy, divided, joined
from embedding.sharding import HashBuckets
from embedding.store import Admission, Ids


def test_early_admissions_stay_below_one_in_a_million_of_a_full_filter() -> None:
    """A million ids, each seen once, twice the candidates that the filter was made for."""
    for ids in (mix(np.arange(10**6, dtype=np.uint64)), np.arange(10**6, dtype=np.uint64)):
        policy = CountingFilter(threshold=2, candidates=500_000)
        early = 0
        for part in np.array_split(ids, 20):
            early += int(policy.admit(part, np.ones(len(part), np.int32), step=0).sum())
        assert early <= 6, "at most 1e-6 each: 6 of 10^6 has a probability below 1e-3"
        assert policy.forgotten > 0


def test_its_memory_is_four_bytes_a_candidate() -> None:
    assert CountingFilter(2, candidates=10**6).nbytes <= 4 * 10**6 + 64


def test_within_its_candidates_it_counts_as_exactly_as_a_dict() -> None:
    rng = np.random.default_rng(0)
    policy, exact = CountingFilter(3, candidates=20_000), ExactCounts(3)
    for step in range(30):
        ids, counts = np.unique(rng.zipf(1.2, 400).astype(np.uint64) % np.uint64(5000), return_counts=True)
        counts = counts.astype(np.int32)
        admitted = policy.admit(ids, counts, step)
        np.testing.assert_array_equal(admitted, exact.admit(ids, counts, step))
        for each in (policy, exact):
            each.forget(ids[admitted])
    assert policy.forgotten == 0


def test_ids_seen_often_outlive_a_stream_of_ids_seen_once() -> None:
    policy = CountingFilter(threshold=3, candidates=1000)
    faithful = np.arange(50, dtype=np.uint64)
    policy.admit(faithful, np.full(50, 2, np.int32), step=0)
    for step in range(20):
        policy.admit(np.arange(1000, dtype=np.uint64) + np.uint64(10**6 * (step + 1)), np.ones(1000, np.int32), step)
    assert policy.forgotten > 10_000
    assert policy.admit(faithful, np.ones(50, np.int32), step=0).mean() > 0.9


THREE = Admission("count", 3)
CROWDED = 4_000
"""Candidates of a filter that is full, so that counts are dropped, too."""


def shards(ranks: int) -> list[AdmissionPolicy]:
    return [bounded_policy(THREE, np.uint64(0), CROWDED, ranks) for _ in range(ranks)]


def admitted(policies: list[AdmissionPolicy], ids: Ids) -> list[int]:
    """Of ids that are seen once, each by the shard that owns it."""
    owners, found = HashBuckets(len(policies), buckets=len(policies)).owner(ids), []
    for shard, policy in enumerate(policies):
        own = ids[owners == shard]
        passed = own[policy.admit(own, np.ones(len(own), np.int32), step=0)]
        policy.forget(passed)
        found += passed.tolist()
    return sorted(found)


def test_any_number_of_shards_counts_as_one_filter_does_also_when_it_changes() -> None:
    rng = np.random.default_rng(0)
    alone, rescaled = shards(1), shards(1)
    total = 0
    for ranks in (1, 2, 3, 8, 5, 240, 1):
        whole = joined([policy.state() for policy in rescaled])
        rescaled = shards(ranks)
        for shard, policy in enumerate(rescaled):
            policy.restore(divided(whole, shard, ranks)[0])
        ids = np.unique(rng.zipf(1.3, 4_000).astype(np.uint64))
        assert admitted(rescaled, ids) == admitted(alone, ids)
        total += len(ids)
    (one,), (other,) = (joined([policy.state() for policy in policies]) for policies in (alone, rescaled))
    np.testing.assert_array_equal(one["slots"], other["slots"])
    assert one["forgotten"].item() == other["forgotten"].item()
    assert one["forgotten"].any()
    assert total > CROWDED


@pytest.mark.parametrize(("before", "after"), [(7, 2), (2, 7)])
def test_shards_that_do_not_divide_the_sections_count_anew_when_their_number_changes(before: int, after: int) -> None:
    ids = np.arange(50, dtype=np.uint64)
    given = shards(before)
    for expected in (0, 0, 50):
        assert len(admitted(given, ids)) == expected
    whole = joined([policy.state() for policy in given])
    assert divided(whole, 0, before)
    assert not divided(whole, 0, after)
