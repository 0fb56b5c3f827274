"""Distances of rows with categories, sets and numbers, against sums written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.training.debiasing.covariates import CovariateReader, Covariates, SquaredDistances, set_codes
from streaming.encode.batch import Jagged
from streaming.encode.feature_spec import FeatureSpec, Field

SETS = st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=8)


@given(SETS)
def test_codes_are_equal_where_the_values_are(sets: list[list[int]]) -> None:
    values = np.array([value for values in sets for value in values], np.uint64)
    codes = set_codes(Jagged(values, np.array([len(values) for values in sets], np.int32)))
    for a, code in zip(sets, codes, strict=True):
        for b, other in zip(sets, codes, strict=True):
            assert (code == other) == (sorted(a) == sorted(b))


def test_each_field_adds_at_most_one() -> None:
    rows = Covariates(np.array([[1, 7], [1, 8], [2, 8]]), np.array([[10.0], [30.0], [np.nan]]))
    found = SquaredDistances.fitted(rows)(rows, rows)
    np.testing.assert_allclose(found, [[0, 1 + 1, 2 + 0.25], [2, 0, 1 + 0.25], [2.25, 1.25, 0]])


def test_without_numbers_and_without_anchors() -> None:
    rows = Covariates(np.array([[1], [2]]), np.zeros((2, 0)))
    distances = SquaredDistances.fitted(rows)
    np.testing.assert_array_equal(distances(rows, rows), [[0, 1], [1, 0]])
    assert distances(rows, rows.take(np.zeros(0, np.int64))).shape == (2, 0)


def test_what_only_shown_pairs_have_is_left_out() -> None:
    fields = [
        Field("user", "categorical", "user"),
        Field("seen", "numeric", "pair.count(click, 1h)"),
        Field("rate", "numeric", "item.rate(click, 1h)"),
        Field("age", "numeric", "request.age"),
    ]
    spec = FeatureSpec.of(fields)
    contexts, items = CovariateReader(spec, of_item=False), CovariateReader(spec, of_item=True)
    assert ([field.name for field in contexts.sparse], contexts.numbers) == (["user"], 1)
    assert (items.sparse, items.numbers) == ((), 1)
