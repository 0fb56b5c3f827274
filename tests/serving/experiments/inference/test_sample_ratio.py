from __future__ import annotations

import math

import numpy as np
import pytest

from serving.experiments.inference.sample_ratio import estimated_users, sample_ratio_p

BUCKETS = 1 << 12


def occupied(rng: np.random.Generator, users: int) -> int:
    return len(np.unique(rng.integers(0, BUCKETS, users)))


def test_the_sample_ratio_follows_the_weights() -> None:
    assert sample_ratio_p([900, 100], [9, 1], 1 << 30) == pytest.approx(1.0, abs=1e-3)
    assert sample_ratio_p([900, 100], [1, 1], 1 << 30) < 1e-6
    assert sample_ratio_p([0, 0], [1, 1], BUCKETS) == 1.0
    assert sample_ratio_p([10], [1], BUCKETS) == 1.0


def test_with_few_users_a_bucket_it_is_pearson_s_test() -> None:
    counts, weights = [410, 380, 215], [4, 4, 2]
    expected = np.array(weights) / 10 * sum(counts)
    statistic = float(((np.array(counts) - expected) ** 2 / expected).sum())
    p = math.exp(-statistic / 2)  # chi-squared with two degrees of freedom is an exponential distribution
    assert sample_ratio_p(counts, weights, 1 << 40) == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize("users", [1, 40, 4_000, 16_000])
def test_users_are_estimated_from_the_buckets_they_occupy(users: int) -> None:
    rng, t = np.random.default_rng(users), users / BUCKETS
    error = np.sqrt(BUCKETS * (np.exp(t) - t - 1))
    found = [estimated_users(occupied(rng, users), BUCKETS) for _ in range(50)]
    assert np.mean(found) == pytest.approx(users, abs=max(4 * error / np.sqrt(50), 0.01 * users))


@pytest.mark.slow
@pytest.mark.parametrize("users", [200, 4_000, 20_000, 60_000])
@pytest.mark.parametrize("weights", [(1, 1), (1, 9), (2, 3, 5)])
def test_a_right_split_is_rarely_called_broken_however_full_the_buckets(users: int, weights: tuple[int, ...]) -> None:
    rng = np.random.default_rng(users)
    share = np.array(weights) / sum(weights)
    p = [
        sample_ratio_p([occupied(rng, count) for count in rng.multinomial(users, share)], weights, BUCKETS)
        for _ in range(100)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize("users", [4_000, 20_000])
def test_a_wrong_split_is_found(users: int) -> None:
    rng = np.random.default_rng(users)
    counts = [occupied(rng, users), occupied(rng, int(users * 1.3))]
    assert sample_ratio_p(counts, [1, 1], BUCKETS) < 0.001
