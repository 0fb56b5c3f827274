"""Scaling of numeric fields: moments of a stream, and what they make of numbers.

Shape suffixes: B rows, N numeric fields.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streaming.encode.feature_spec import Field, Scale
from streaming.encode.scaling import CLIP, RunningMoments, Scaling
from streaming.events.schema import LARGEST


def moments(*scales: Scale) -> RunningMoments:
    return RunningMoments([Field(f"f{n}", "numeric", f"item.f{n}", scale=scale) for n, scale in enumerate(scales)])


def numbers(*rows: list[float]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


def drawn(mean: float, deviation: float, rows: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(mean, deviation, (rows, 1)).astype(np.float32)


@pytest.mark.slow
@given(st.integers(1, 50), st.floats(-1e4, 1e4), st.floats(1e-2, 1e4), st.integers(0, 99))
def test_moments_are_those_of_the_whole_stream_however_it_is_cut(
    size: int, mean: float, deviation: float, seed: int
) -> None:
    assume(deviation > 1e-5 * abs(mean))  # below that it is the rounding of float32, and the field counts as constant
    stream_B1 = drawn(mean, deviation, 400, seed)
    running = moments("standard")
    running.add(stream_B1[:100])
    for start in range(100, 400, size):
        running.add(stream_B1[start : start + size])
    scaling = running.scaling()
    np.testing.assert_allclose(scaling.means, stream_B1.mean(0, np.float64), rtol=1e-6, atol=1e-6 * deviation)
    np.testing.assert_allclose(scaling.scales, stream_B1.std(0, dtype=np.float64), rtol=1e-6)


def test_scaled_numbers_have_mean_0_and_deviation_1_and_missing_ones_are_the_mean() -> None:
    stream_B1 = drawn(1e6, 3e4, 10_000)
    running = moments("standard")
    running.add(stream_B1)
    scaled_B1 = running.scaling().apply(stream_B1)
    assert (scaled_B1.mean(), scaled_B1.std()) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    assert running.scaling().apply(numbers([np.nan])).tolist() == [[0.0]]


def test_a_missing_number_does_not_count() -> None:
    running = moments("standard", "standard")
    running.add(numbers([1, np.nan], [3, np.nan], [np.nan, np.nan]))
    assert running.scaling().means == [2.0, 0.0]
    assert running.scaling().scales == [1.0, 1.0]


@pytest.mark.parametrize("first", [False, True], ids=["later", "in the first batch"])
@pytest.mark.parametrize("absurd", [LARGEST, -LARGEST, 1e6])
def test_one_absurd_number_does_not_make_all_others_equal(first: bool, absurd: float) -> None:
    ordinary_B1 = drawn(5, 2, 256)
    spoiled_B1 = ordinary_B1.copy()
    spoiled_B1[7] = absurd
    running = moments("standard")
    for batch_B1 in (spoiled_B1, ordinary_B1) if first else (ordinary_B1, spoiled_B1):
        running.add(batch_B1)
    scaled_B1 = running.scaling().apply(spoiled_B1)
    assert abs(scaled_B1[7, 0]) == pytest.approx(CLIP, rel=0.5 if absurd == 1e6 else 1e-6)
    assert np.delete(scaled_B1, 7).std() > 0.2


def test_a_field_whose_numbers_grow_a_thousandfold_is_followed() -> None:
    running = moments("standard")
    running.add(drawn(0, 1, 256))
    for seed in range(40):
        running.add(drawn(0, 1000, 256, seed))
    assert running.scaling().apply(drawn(0, 1000, 256)).std() == pytest.approx(1, rel=0.2)


def test_a_constant_field_is_shifted_only() -> None:
    running = moments("standard")
    running.add(np.full((300, 1), 0.1, np.float32))
    assert running.scaling().apply(numbers([0.1], [1.1])).tolist() == [[0.0], [pytest.approx(1.0)]]


def test_a_field_without_scaling_stays_as_it_is() -> None:
    running = moments("none", "standard")
    running.add(numbers([3, 3], [5, 5]))
    assert running.scaling().apply(numbers([LARGEST, 6])).tolist() == [[np.float32(LARGEST), 2.0]]


def test_the_fields_of_request_and_item_are_scaled_apart() -> None:
    running = moments("standard", "standard", "standard")
    running.add(numbers([1, 20, 300], [3, 40, 500]))
    whole_BN = numbers([7, 60, 900])
    scaling = running.scaling()
    parts = scaling.apply(whole_BN[:, :1]), scaling.apply(whole_BN[:, 1:], first=1)
    np.testing.assert_array_equal(np.hstack(parts), scaling.apply(whole_BN))


numeric = st.floats(-LARGEST, LARGEST) | st.just(float("nan"))


@pytest.mark.slow
@given(st.lists(st.lists(st.tuples(numeric, numeric), min_size=1, max_size=9), min_size=1, max_size=6))
def test_whatever_came_before_every_result_is_finite(batches: list[list[tuple[float, float]]]) -> None:
    running = moments("standard", "none")
    for batch in batches:
        rows_BN = np.array(batch, np.float32)
        running.add(rows_BN)
        scaled_BN = running.scaling().apply(rows_BN)
        assert np.isfinite(scaled_BN).all()
        assert (np.abs(scaled_BN[:, 0]) <= CLIP).all()


def test_state_and_constants_keep_every_bit() -> None:
    running, other = moments("standard"), moments("standard")
    running.add(drawn(0.1, 0.3, 77))
    other.restore({name: array.copy() for name, array in running.state().items()})
    for each in (running, other):
        each.add(drawn(0.2, 0.5, 50))
    assert other.scaling() == running.scaling()
    assert msgspec.json.decode(msgspec.json.encode(running.scaling()), type=Scaling) == running.scaling()
