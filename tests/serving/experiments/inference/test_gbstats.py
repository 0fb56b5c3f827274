"""The same sums as GrowthBook's gbstats 0.8.0 was given, whose results stand here: an implementation apart."""

from __future__ import annotations

import numpy as np
import pytest

from serving.experiments.inference.adjusted import Moments, RateDifference, adjusted_rates
from serving.experiments.inference.intervals import TUNED, difference_interval
from serving.experiments.inference.sums import ClickSums

CONTROL = ClickSums(5200, 31400, 4410, 402300, 51200, 11020)
TREATMENT = ClickSums(5050, 30100, 4730, 381000, 54100, 12950)


@pytest.mark.parametrize(
    ("alpha", "interval"),
    [
        (0.05, (0.006746235630000938, 0.02664775891049042)),
        (0.01, (0.005011854763024957, 0.028382139777466397)),
    ],
)
def test_click_rates(alpha: float, interval: tuple[float, float]) -> None:
    """`SequentialTwoSidedTTest` of two `RatioStatistic`, absolute difference, tuned for 5,000 as ours."""
    assert TUNED == 5000
    assert difference_interval(TREATMENT, CONTROL, alpha) == pytest.approx(interval, rel=1e-12)


def moments(users: float, after: float, afters: float, before: float, befores: float, products: float) -> Moments:
    """Of a figure of each user, and of the time before, by their sums, sums of squares and of products."""
    rows = [
        [users, after, users, before],
        [after, afters, after, products],
        [users, after, users, before],
        [before, products, before, befores],
    ]
    return Moments(round(users), np.array(rows[0]), np.array(rows, np.float64))


def test_means_adjusted_by_the_time_before() -> None:
    """`RegressionAdjustedStatistic`. Its coefficient is of both arms together, 0.974777, and has a part of their
    difference; ours is within the arms, so that results are near and not the same.
    """
    rates = adjusted_rates(
        {
            "control": moments(1900, 2871.0, 20889.0, 2805.0, 16749.0, 13098.0),
            "treatment": moments(2100, 4711.5, 55829.25, 2960.0, 16120.0, 21771.0),
        }
    )
    found = RateDifference.of(rates["treatment"], rates["control"])
    assert found.value == pytest.approx(0.79762610973347, rel=1e-3)
    assert found.interval(0.05) == pytest.approx((0.5048690564784508, 1.0903831629884893), rel=1e-3)
