from __future__ import annotations

import numpy as np
import pytest

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.inference.sums import ClickSums
from serving.experiments.summary import ExperimentSummary, summarise

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))
BUCKETS = 1 << 20


def arm(users: int, clicks: int, impressions: int = 10) -> ClickSums:
    """Users with as many impressions each, of which the first `clicks` users clicked one."""
    return ClickSums.of(np.full(users, impressions), (np.arange(users) < clicks).astype(np.int64))


def summary(control: ClickSums, treatment: ClickSums) -> ExperimentSummary:
    return summarise(AB, [control, treatment], BUCKETS)


def test_a_clear_difference() -> None:
    found = summary(arm(5000, 1000), arm(5100, 2000))
    (comparison,) = found.comparisons
    assert comparison.difference == pytest.approx(2000 / 51_000 - 0.02)
    assert 0 < comparison.interval[0] < 0.0192 < comparison.interval[1]
    assert comparison.verdict == "better"
    assert found.sample_ratio_ok
    assert found.arms[0].ctr == 0.02
    low, high = found.arms[0].interval
    assert low < 0.02 < high


def test_the_other_way_round_it_is_worse() -> None:
    assert summary(arm(5100, 2000), arm(5000, 1000)).comparisons[0].verdict == "worse"


def test_no_difference() -> None:
    assert summary(arm(5000, 1000), arm(5000, 1010)).comparisons[0].verdict == "no difference shown"


@pytest.mark.parametrize(("users", "clicks"), [(99, 50), (5000, 4)])
def test_few_figures_decide_nothing(users: int, clicks: int) -> None:
    assert summary(arm(users, 0), arm(users, clicks)).comparisons[0].verdict == "too few data"


@pytest.mark.parametrize(("clicks", "low", "high"), [(0, 0.0, 0.0067), (19, 0.0, 0.0067), (5000, 0.9933, 1.0)])
def test_rare_outcomes_have_a_bound_on_one_side(clicks: int, low: float, high: float) -> None:
    found = summary(arm(5000, clicks, 1), arm(5000, 1000, 1)).arms[0].interval
    assert found == pytest.approx((low, high), abs=1e-4)


def test_an_arm_without_any_click_is_worse_than_one_with_many() -> None:
    (comparison,) = summary(arm(5000, 1000, 1), arm(5000, 0, 1)).comparisons
    assert comparison.verdict == "worse"
    assert -0.23 < comparison.interval[0] < comparison.interval[1] < -0.16


@pytest.mark.parametrize("clicks", [(0, 0), (0, 19), (19, 19), (20, 19), (5000, 4990)])
def test_too_few_outcomes_of_one_arm_decide_nothing(clicks: tuple[int, int]) -> None:
    assert summary(arm(5000, clicks[0], 1), arm(5000, clicks[1], 1)).comparisons[0].verdict == "too few data"


def test_clicks_of_one_user_count_as_one() -> None:
    """A hundred clicks, but of two users of a thousand."""
    heavy = ClickSums.of(np.full(1000, 50), np.where(np.arange(1000) < 2, 50, 0))
    assert heavy.effective_clicks == pytest.approx(2)
    assert summary(heavy, arm(1000, 100, 50)).comparisons[0].verdict == "too few data"


def test_there_is_no_verdict_while_the_sample_ratio_is_broken() -> None:
    found = summary(arm(5000, 1000), arm(6000, 3000))
    assert not found.sample_ratio_ok
    assert found.sample_ratio_p < 0.001
    assert found.comparisons[0].interval[0] > 0
    assert found.comparisons[0].verdict == "sample ratio broken"


def test_nothing_yet() -> None:
    found = summary(ClickSums(), ClickSums())
    assert found.arms[0].ctr is None
    assert found.arms[0].interval == (0.0, 1.0)
    assert found.comparisons[0].difference is None
    assert found.comparisons[0].verdict == "too few data"
    assert found.sample_ratio_p == 1.0
