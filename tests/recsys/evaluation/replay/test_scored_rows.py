"""Rows to score: in time order, without labels, whatever the order and shape of what came in."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.replay.scored_rows import ScoredRows
from streaming.encode.batch import Jagged, TrainingBatch

Row = tuple[int, list[int], int]
"""Time, genres (any number), label."""


def batch_of(rows: list[Row]) -> TrainingBatch:
    genres = [genre for _, many, _ in rows for genre in many]
    count = len(rows)
    return TrainingBatch(
        ids={"genres": Jagged(np.array(genres, np.uint64), np.array([len(many) for _, many, _ in rows], np.int32))},
        numeric_BN=np.array([[time] for time, _, _ in rows], np.float32).reshape(count, 1),
        labels_B=np.array([label for _, _, label in rows], np.float32),
        counted_B=np.ones(count, np.float32),
        keys_B=np.arange(count),
        tasks_B=np.zeros(count, np.int64),
        weights_B=np.ones(count, np.float32),
        propensities_B=np.ones(count, np.float32),
        positions_B=np.zeros(count, np.int32),
        times_B=np.array([time for time, _, _ in rows], np.int64),
        now=0,
        cursor=(0,),
    )


rows = st.tuples(st.integers(0, 50), st.lists(st.integers(1, 9), max_size=3), st.integers(0, 1))


@pytest.mark.slow
@given(st.lists(st.lists(rows, max_size=6), max_size=5), st.integers(0, 50), st.integers(0, 51))
def test_rows_come_in_time_order_and_only_from_the_online_stage(parts: list[list[Row]], start: int, end: int) -> None:
    wanted = sorted(row for part in parts for row in part if start <= row[0] < end)
    got = ScoredRows([batch_of(part) for part in parts], start, end)
    assert got.times_R.tolist() == [time for time, _, _ in wanted]
    if not wanted:
        return
    whole = got.slice(0, len(got))
    assert whole.numeric_BN[:, 0].tolist() == [time for time, _, _ in wanted]
    ends = np.cumsum(whole.ids["genres"].lengths_B).tolist()
    genres = [whole.ids["genres"].values[a:b].tolist() for a, b in zip([0, *ends], ends, strict=False)]
    assert sorted(zip(got.times_R.tolist(), genres, got.labels_R.tolist(), strict=True)) == wanted


@given(st.lists(rows, min_size=1, max_size=8), st.randoms())
def test_the_order_in_which_labels_became_known_leaves_no_trace(many: list[Row], random: Random) -> None:
    shuffled = random.sample(many, len(many))
    some, other = (ScoredRows([batch_of(part)], 0, 100).slice(0, len(many)) for part in (many, shuffled))
    assert other.times_B.tolist() == some.times_B.tolist()
    assert other.numeric_BN.tolist() == some.numeric_BN.tolist()
    sums = [
        [sum(part.tolist()) for part in np.split(rows.ids["genres"].values, np.cumsum(rows.ids["genres"].lengths_B))]
        for rows in (some, other)
    ]
    assert sums[0] == sums[1]


def test_a_slice_is_what_the_model_may_see() -> None:
    got = ScoredRows([batch_of([(5, [1], 1), (3, [2, 3], 1), (4, [], 0)])], 0, 10)
    middle = got.slice(1, 3)
    assert middle.times_B.tolist() == [4, 5]
    assert middle.ids["genres"].values.tolist() == [1]
    assert middle.ids["genres"].lengths_B.tolist() == [0, 1]
    assert middle.labels_B.tolist() == [0, 0]


def test_rows_before_a_moment() -> None:
    got = ScoredRows([batch_of([(3, [], 0), (5, [], 0), (5, [], 0), (9, [], 0)])], 0, 10)
    assert [got.before(time) for time in (0, 3, 4, 5, 6, 100)] == [0, 0, 1, 1, 3, 4]
