"""Rows as bytes: how far each precision is off, and that the bytes alone say which one it is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.cache.row_store import Floats, Ids
from serving.replication.row_codec import Precision, decode, diverged, encode
from tests.serving.fakes import ids

PRECISIONS: tuple[Precision, ...] = ("float32", "half", "int8")
precisions = st.sampled_from(PRECISIONS)
dims = st.integers(4, 256)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Floats, Ids]:
    shape = draw(st.integers(0, 5)), draw(dims)
    values_ND = draw(arrays(np.float32, shape, elements=st.floats(-65504, 65504, width=32, allow_subnormal=False)))
    return values_ND, draw(arrays(np.uint64, shape[0], unique=True))


def error(values_ND: Floats, precision: Precision) -> Floats:
    """The most that each value may be off, as the documentation says."""
    size_ND = np.abs(values_ND)
    if precision == "half":
        return np.maximum(size_ND * np.float32(2**-11), np.float32(2**-25))
    step = size_ND.max(axis=1, keepdims=True, initial=0) / np.float32(127)
    rounding = np.float32(1 + 1e-4)  # of float32 itself, in a step and its multiples
    return np.broadcast_to(step * rounding + np.float32(1e-37), values_ND.shape) * (precision == "int8")


def one(value: float, precision: Precision, dim: int = 4) -> bytes:
    return encode(np.full((1, dim), value, np.float32), ids(1), precision, step=0)[0]


@pytest.mark.slow
@given(tables(), precisions, st.integers(0, 2**40))
def test_rows_come_back_within_the_stated_error(table: tuple[Floats, Ids], precision: Precision, draw: int) -> None:
    values_ND, ids_N = table
    rows = encode(values_ND, ids_N, precision, draw)
    assert rows == encode(values_ND, ids_N, precision, draw)
    back_ND = decode(rows, values_ND.shape[1])
    assert back_ND.dtype == np.float32
    assert back_ND.shape == values_ND.shape
    assert (np.abs(back_ND - values_ND) <= error(values_ND, precision)).all()


@given(dims)
def test_how_long_rows_are(dim: int) -> None:
    assert [len(one(1.0, precision, dim)) for precision in PRECISIONS] == [4 * dim, 1 + 2 * dim, 5 + dim + dim % 2]


@given(st.lists(precisions, min_size=1, max_size=30), dims)
def test_precisions_may_be_mixed(mixture: list[Precision], dim: int) -> None:
    rows = [one(place, precision, dim) for place, precision in enumerate(mixture)]
    each = np.concatenate([decode([row], dim) for row in rows])
    np.testing.assert_array_equal(decode(rows, dim), each)
    np.testing.assert_allclose(each[:, 0], np.arange(len(mixture)), rtol=1 / 127)


@given(dims, dims, precisions, st.floats(-1000, 1000, width=32))
def test_a_row_of_another_dimension_is_refused(dim: int, other: int, precision: Precision, value: float) -> None:
    if dim == other:
        other += 1
    with pytest.raises(ValueError, match=rf"rows have \[{other}\] values where the model's dimension is {dim}"):
        decode([one(value, precision, other)], dim)


LAYOUTS = {dim: {(1 + 2 * dim, b"\1"), (5 + dim + dim % 2, b"\3" if dim % 2 else b"\2")} for dim in range(4, 17)}


@given(st.one_of(st.binary(max_size=40), st.integers(0, 40).map(bytes)), st.integers(4, 16))
@example(b"\1" + bytes(8), 4)
@example(b"\2" + bytes(8), 4)
@example(b"\3" + bytes(10), 5)
@example(b"\2" + bytes(10), 5)
def test_any_bytes_are_a_row_or_refused(data: bytes, dim: int) -> None:
    if len(data) == 4 * dim or (len(data), data[:1]) in LAYOUTS[dim]:
        assert decode([data], dim).shape == (1, dim)
    else:
        with pytest.raises(ValueError, match="publish all rows of the model again"):
            decode([data], dim)


@pytest.mark.parametrize("data", [b"\1\2", bytes(18), b"\0" * 9, b"\4" * 9, b"\2", b"\2" * 5, b"\3" * 5, b"\xff" * 33])
def test_damaged_rows_are_said_so(data: bytes) -> None:
    with pytest.raises(ValueError, match=rf"a row of {len(data)} bytes.* is damaged"):
        decode([data, one(1.0, "half")], 4)


def test_a_shortened_row_is_refused() -> None:
    for precision, dim in product(PRECISIONS, (4, 7, 16)):
        row = one(0.3, precision, dim)
        for length in range(len(row)):
            with pytest.raises(ValueError, match="publish all rows"):
                decode([row[:length]], dim)


@pytest.mark.parametrize("precision", ["half", "int8"])
@pytest.mark.parametrize("wild", [65505.0, -1e30, np.inf, np.nan, np.finfo(np.float32).max])
def test_a_row_that_diverged_stays_as_it_is(precision: Precision, wild: float) -> None:
    values_ND = np.array([[1, 0.5, 0, -1], [1, 0.5, wild, -1]], np.float32)
    assert diverged(values_ND).tolist() == [False, True]
    rows = encode(values_ND, ids(1, 2), precision, step=3)
    assert [len(row) for row in rows] == [9, 16]
    np.testing.assert_array_equal(decode(rows, 4)[1], values_ND[1])


@pytest.mark.slow
def test_rounding_at_random_averages_out_over_draws() -> None:
    values_ND = np.random.default_rng(0).uniform(-1, 1, (5, 8)).astype(np.float32)
    read = [decode(encode(values_ND, ids(*range(5)), "int8", draw), 8) for draw in range(4000)]
    np.testing.assert_allclose(np.mean(read, axis=0), values_ND, atol=5e-4)


def test_many_rows_are_encoded_in_parts() -> None:
    values_ND = np.random.default_rng(0).normal(0, 1, (20_000, 4)).astype(np.float32)
    rows = encode(values_ND, np.arange(20_000, dtype=np.uint64), "half", step=0)
    np.testing.assert_array_equal(decode(rows, 4), values_ND.astype(np.float16))
