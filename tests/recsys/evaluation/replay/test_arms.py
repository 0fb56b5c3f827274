"""Arms: when serving takes weights, and which weights score a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.replay.arms import Arm, frozen, online, schedule

TIMES = np.array([100, 101, 130, 130, 131, 190, 260], np.int64)


def test_an_interval_syncs_at_its_multiples_where_there_is_something_to_score() -> None:
    arm = online("30ms", 100, TIMES)
    assert arm.name == "online@30ms"
    assert arm.syncs == (100, 130, 190, 250)
    assert arm.shards(TIMES).tolist() == [0, 0, 1, 1, 1, 2, 3]


def test_shards_have_equal_rows_and_keep_one_instant_together() -> None:
    arm = online("3 shards", 90, TIMES)
    assert arm.name == "online@3 shards"
    assert arm.syncs == (90, 130, 131)
    assert arm.shards(TIMES).tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_frozen_has_one_shard() -> None:
    assert frozen(100).shards(TIMES).tolist() == [0] * 7


@pytest.mark.parametrize("sync", ["", "0ms", "0 shards", "1 hour", "-1h", "h"])
def test_a_wrong_rule_is_refused_with_an_example(sync: str) -> None:
    with pytest.raises(ValueError, match=r"1h|50 shards|10s"):
        online(sync, 0, TIMES)


@pytest.mark.parametrize("sync", ["1h", "5 shards"])
def test_nothing_to_score_needs_no_sync(sync: str) -> None:
    assert online(sync, 0, TIMES[:0]).syncs == ()


def test_the_schedule_brings_syncs_of_one_moment_together() -> None:
    times = [(sync.time, sync.due) for sync in schedule([frozen(0), Arm("a", (0, 20)), Arm("b", (0, 10, 20))], 30)]
    assert times == [(0, ((0, 30), (1, 20), (2, 10))), (10, ((2, 20),)), (20, ((1, 30), (2, 30)))]


@given(
    st.lists(st.integers(0, 1000), min_size=1).map(sorted),
    st.sampled_from(["7ms", "100ms", "1s", "1 shard", "4 shards", "50 shards"]),
)
def test_the_schedule_scores_every_row_once_with_the_weights_of_its_shard(times: list[int], sync: str) -> None:
    times_R = np.array(times, np.int64)
    arm = online(sync, 0, times_R)
    scored = np.full(len(times_R), -1)
    for number, step in enumerate(schedule([arm], times[-1] + 1)):
        ((_, end),) = step.due
        rows = (times_R >= step.time) & (times_R < end)
        assert rows.any()
        assert (scored[rows] == -1).all()
        scored[rows] = number
    assert scored.tolist() == arm.shards(times_R).tolist()
