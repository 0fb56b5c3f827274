from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from serving.experiments.intervals import difference_interval, rate_interval, sample_ratio_p


@pytest.mark.parametrize(("clicks", "impressions"), [(3, 10), (0, 20), (20, 20), (150, 3000)])
def test_the_interval_ends_where_the_mixture_martingale_is_one_over_alpha(clicks: int, impressions: int) -> None:
    """The martingale by numerical integration: mean over q of the likelihood ratio of q against p."""
    misses = impressions - clicks

    def martingale(p: float) -> float:
        def ratio(q: float) -> float:
            return float((q / p) ** clicks * ((1 - q) / (1 - p)) ** misses)

        peak = clicks / impressions
        return float(quad(ratio, 0, 1, points=[peak], limit=200)[0])

    low, high = rate_interval(clicks, impressions, alpha=0.05)
    assert low == 0 if clicks == 0 else martingale(low) == pytest.approx(20, rel=1e-4)
    assert high == 1 if misses == 0 else martingale(high) == pytest.approx(20, rel=1e-4)


def test_it_covers_the_rate_at_every_look_at_once() -> None:
    """200 experiments looked at after every impression: at alpha 0.1 at most 10 % may ever exclude the truth."""
    rng, rate, runs, length = np.random.default_rng(0), 0.1, 200, 400
    clicks = np.cumsum(rng.random((runs, length)) < rate, axis=1)
    table = {}
    excluded = 0
    for run in range(runs):
        for n in range(1, length + 1):
            key = (int(clicks[run, n - 1]), n)
            if key not in table:
                low, high = rate_interval(*key, alpha=0.1)
                table[key] = low <= rate <= high
            if not table[key]:
                excluded += 1
                break
    assert 0 < excluded / runs <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / runs)


def test_no_impressions_say_nothing() -> None:
    assert rate_interval(0, 0) == (0.0, 1.0)
    assert difference_interval((0, 0), (0, 0)) == (-1.0, 1.0)


def test_a_large_difference_is_seen_and_an_equal_rate_is_not() -> None:
    low, _ = difference_interval((300, 2000), (100, 2000))
    assert low > 0
    low, high = difference_interval((100, 2000), (100, 2000))
    assert low < 0 < high


def test_more_clicks_than_impressions_are_refused() -> None:
    with pytest.raises(ValueError, match="no rate"):
        rate_interval(3, 2)


def test_the_sample_ratio_follows_the_weights() -> None:
    assert sample_ratio_p([900, 100], [9, 1]) == pytest.approx(1.0)
    assert sample_ratio_p([900, 100], [1, 1]) < 1e-6
    assert sample_ratio_p([0, 0], [1, 1]) == 1.0
    assert sample_ratio_p([10], [1]) == 1.0
