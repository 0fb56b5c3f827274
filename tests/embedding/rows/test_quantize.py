import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embedding.rows.quantize import Int8Rows, half
from embedding.store import Floats
from recsys.errors import InvalidValueError

ROWS = arrays.arrays(np.float32, (5, 8), elements=st.floats(-1000, 1000, width=32, allow_subnormal=False))
IDS = np.arange(5, dtype=np.uint64)


@given(ROWS)
def test_half_is_off_by_at_most_what_it_says(values: Floats) -> None:
    assert (np.abs(half(values) - values) <= np.maximum(np.abs(values) * 2.0**-11, 2.0**-25)).all()


@given(ROWS)
def test_int8_is_off_by_at_most_one_step(values: Floats) -> None:
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(Int8Rows.of(values, IDS).values() - values) <= step * (1 + 1e-4) + 1e-37).all()


def test_int8_is_right_on_average() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (5, 8)).astype(np.float32)
    mean = np.mean([Int8Rows.of(values, IDS, draw).values() for draw in range(4000)], axis=0)
    np.testing.assert_allclose(mean, values, atol=5e-4)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="65504"):
        half(np.array([[1e6]], np.float32))
    with pytest.raises(InvalidValueError, match="diverged"):
        Int8Rows.of(np.array([[np.nan]], np.float32), IDS[:1])
