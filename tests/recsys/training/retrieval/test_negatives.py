"""What negatives are and how they count: estimate, pool and loss against independent forms.

Shape suffixes: U distinct ids, P clicked rows, C candidates, E coordinates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.training.retrieval.batch_softmax import batch_softmax
from recsys.training.retrieval.frequency import FrequencyEstimate
from recsys.training.retrieval.hard_negatives import hardest
from recsys.training.retrieval.item_pool import MOST_VALUES, ItemPool
from streaming.encode.batch import Jagged
from streaming.encode.feature_spec import Field


@pytest.mark.slow
@given(st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=30), st.floats(0.01, 0.5))
@settings(max_examples=40)
def test_the_estimate_is_the_one_of_the_paper(batches: list[set[int]], rate: float) -> None:
    estimate = FrequencyEstimate(buckets=1 << 14, rate=rate)
    last, gap = dict[int, int](), dict[int, float]()
    for number, items in enumerate(batches, 1):
        estimate.add(np.array(sorted(items), np.uint64))
        for item in items:  # algorithm 2 with a table without collisions
            seen = number - last.get(item, 0)
            gap[item] = (1 - rate) * gap[item] + rate * seen if item in gap else seen
            last[item] = number
    found = estimate.probability(np.array(sorted(gap), np.uint64))
    np.testing.assert_allclose(found, [1 / gap[item] for item in sorted(gap)], rtol=1e-12)
    assert estimate.probability(np.array([77], np.uint64)).tolist() == [1 / (len(batches) + 1)]


@pytest.mark.slow
def test_the_estimate_comes_near_to_the_truth_and_follows_it() -> None:
    rng = np.random.default_rng(3)
    estimate = FrequencyEstimate(buckets=1 << 10, rate=0.02)
    share = np.array([0.9, 0.5, 0.2, 0.1])
    ids = np.arange(4, dtype=np.uint64)

    def errors(truth: Any) -> Any:
        seen = []
        for step in range(2500):
            estimate.add(ids[rng.random(4) < truth])
            if step >= 1500:
                seen.append(estimate.probability(ids))
        return np.abs(1 / np.mean(1 / np.array(seen), axis=0) / truth - 1)

    assert errors(share).max() < 0.15
    assert errors(share[::-1]).max() < 0.15


def test_of_items_in_one_bucket_the_longest_gap_counts() -> None:
    crowded, roomy = FrequencyEstimate(buckets=4, hashes=3), FrequencyEstimate(buckets=1 << 14)
    rng = np.random.default_rng(0)
    for _ in range(300):
        ids = np.flatnonzero(rng.random(40) < 0.05).astype(np.uint64)
        crowded.add(ids)
        roomy.add(ids)
    ids = np.arange(40, dtype=np.uint64)
    assert (crowded.probability(ids) >= roomy.probability(ids) * 0.2).all()
    one = FrequencyEstimate(buckets=4, hashes=1)
    one.last_KH, one.gap_KH, one.batches = crowded.last_KH[:1].copy(), crowded.gap_KH[:1].copy(), 300
    assert (crowded.probability(ids) <= one.probability(ids)).all()


FIELDS = [Field("item", "categorical", "item"), Field("tags", "multi", "item.tags")]


def shown(*items: tuple[int, list[int], float]) -> tuple[Any, dict[str, Jagged], Any]:
    keys = np.array([key for key, _, _ in items], np.uint64)
    ones = np.ones(len(items), np.int32)
    tags = Jagged(
        np.array([tag for _, tags, _ in items for tag in tags], np.uint64),
        np.array([len(tags) for _, tags, _ in items], np.int32),
    )
    return keys, {"item": Jagged(keys, ones), "tags": tags}, np.array([[x] for _, _, x in items], np.float32)


def test_items_are_drawn_with_the_features_they_were_last_shown_with() -> None:
    pool = ItemPool(FIELDS, 1, places=4096)
    assert pool.draw(3, np.random.default_rng(0))[0].size == 0
    pool.add(*shown((1, [5], 0.5), (2, [], 2.0), (1, [7, 8], 1.5)))
    pool.add(*shown((3, list(range(40)), 3.0)))
    keys, ids, numbers = pool.draw(6000, np.random.default_rng(1))
    assert len(pool) == 3
    shares = np.bincount(keys.astype(np.int64), minlength=4)[1:] / 6000
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)
    assert ids["item"].values.tolist() == keys.tolist()
    starts = np.cumsum(ids["tags"].lengths_B) - ids["tags"].lengths_B
    expected = {1: ([7, 8], 1.5), 2: ([], 2.0), 3: (list(range(MOST_VALUES)), 3.0)}
    for row in range(200):
        tags = ids["tags"].values[starts[row] :][: ids["tags"].lengths_B[row]].tolist()
        assert (tags, float(numbers[row, 0])) == expected[int(keys[row])]


def test_a_full_pool_follows_what_is_shown() -> None:
    pool = ItemPool(FIELDS[:1], 0, places=8)
    for key in range(500):
        keys = np.array([key], np.uint64)
        pool.add(keys, {"item": Jagged(keys, np.ones(1, np.int32))}, np.zeros((1, 0), np.float32))
    assert len(pool) == 8
    assert pool.keys_R.min() > 400


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_a_corrected_softmax_over_distinct_candidates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    users_PE, items_DE = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    clicked_P = [1, 2, 1, 0]  # two rows clicked the same item, and two candidates were drawn only
    expected_D, weights_P = rng.uniform(0.01, 1, 5), rng.uniform(0, 2, 4)
    total = 0.0
    for i in range(4):
        logits = [float(users_PE[i] @ items_DE[j]) / 0.3 - math.log(expected_D[j]) for j in range(5)]
        total += weights_P[i] * (math.log(sum(map(math.exp, logits))) - logits[clicked_P[i]])
    users, items, clicked, expected, weights = map(
        torch.from_numpy, (users_PE, items_DE, np.array(clicked_P), expected_D, weights_P)
    )
    assert float(batch_softmax(users, items, clicked, expected, weights, 0.3)) == pytest.approx(total / 4)


@given(st.integers(0, 1_000), st.integers(1, 5), st.integers(0, 12), st.integers(1, 8))
@settings(max_examples=60)
def test_hard_negatives_are_the_nearest_items_of_each_row_in_turn(seed: int, rows: int, drawn: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    keys, clicked = rng.integers(0, 9, drawn).astype(np.uint64), rng.integers(0, 9, rows).astype(np.uint64)
    cosine = rng.random((rows, 9)).astype(np.float32)  # of an item drawn twice, it is the same
    found = hardest(cosine[:, keys.astype(np.int64)], keys, clicked, count)
    ranked = [
        sorted(set(keys.tolist()) - {own}, key=lambda item: -cosine[row, item])
        for row, own in enumerate(clicked.tolist())
    ]
    expected: list[int] = []
    for place in range(9):
        at = [(cosine[row, own[place]], own[place]) for row, own in enumerate(ranked) if place < len(own)]
        expected += [item for _, item in sorted(at, reverse=True) if item not in expected]
    assert keys[found].tolist() == list(dict.fromkeys(expected))[:count]
