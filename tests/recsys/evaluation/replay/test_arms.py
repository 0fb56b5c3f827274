"""Arms: when serving takes weights, and which weights score a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.replay.arms import ReplayArm, frozen, online, schedule

TIMES = np.array([100, 101, 130, 130, 131, 190, 260], np.int64)


def test_an_interval_refreshes_at_its_multiples_where_there_is_something_to_score() -> None:
    arm = online("30ms", 100, TIMES)
    assert arm.name == "online@30ms"
    assert arm.refreshes == (100, 130, 190, 250)
    assert arm.intervals(TIMES).tolist() == [0, 0, 1, 1, 1, 2, 3]


def test_slices_have_equal_rows_and_keep_one_instant_together() -> None:
    arm = online("3 slices", 90, TIMES)
    assert arm.name == "online@3 slices"
    assert arm.refreshes == (90, 130, 131)
    assert arm.intervals(TIMES).tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_frozen_has_one_interval() -> None:
    assert frozen(100).intervals(TIMES).tolist() == [0] * 7


@pytest.mark.parametrize("refresh", ["", "0ms", "0 slices", "1 hour", "-1h", "h"])
def test_a_wrong_rule_is_refused_with_an_example(refresh: str) -> None:
    with pytest.raises(ValueError, match=r"1h|50 slices|10s"):
        online(refresh, 0, TIMES)


@pytest.mark.parametrize("refresh", ["1h", "5 slices"])
def test_nothing_to_score_needs_no_refresh(refresh: str) -> None:
    assert online(refresh, 0, TIMES[:0]).refreshes == ()


def test_the_schedule_brings_refreshes_of_one_moment_together() -> None:
    times = [
        (refresh.time, refresh.due)
        for refresh in schedule([frozen(0), ReplayArm("a", (0, 20)), ReplayArm("b", (0, 10, 20))], 30)
    ]
    assert times == [(0, ((0, 30), (1, 20), (2, 10))), (10, ((2, 20),)), (20, ((1, 30), (2, 30)))]


@given(
    st.lists(st.integers(0, 1000), min_size=1).map(sorted),
    st.sampled_from(["7ms", "100ms", "1s", "1 slice", "4 slices", "50 slices"]),
)
def test_the_schedule_scores_every_row_once_with_the_weights_of_its_interval(times: list[int], refresh: str) -> None:
    times_R = np.array(times, np.int64)
    arm = online(refresh, 0, times_R)
    scored = np.full(len(times_R), -1)
    for number, step in enumerate(schedule([arm], times[-1] + 1)):
        ((_, end),) = step.due
        rows = (times_R >= step.time) & (times_R < end)
        assert rows.any()
        assert (scored[rows] == -1).all()
        scored[rows] = number
    assert scored.tolist() == arm.intervals(times_R).tolist()
