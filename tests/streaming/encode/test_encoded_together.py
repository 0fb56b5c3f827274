"""Labeled impressions encoded together: columns of one type take shorter ways, which must lead to the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.encode.encoded_rows import EncodedRows, pack
from streaming.encode.encoder import Encoder
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Features, Value
from streaming.join.label_columns import label_columns
from streaming.join.labeled_impression import LabeledImpression

SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("hour", "categorical", "time.hour"),
        Field("place", "categorical", "request.place"),
        Field("tags", "multi", "request.tags"),
        Field("age", "numeric", "request.age", scale="none"),
        Field("item", "categorical", "item"),
        Field("price", "numeric", "item.price"),
    ]
)
ITEMS = ("w", "x", "y", "z")
numbers: st.SearchStrategy[Any] = st.sampled_from([5, 2**53 + 1, -(2**63), 10**400, 0.5, float("inf"), True, None, "5"])
features = st.fixed_dictionaries(
    {},
    optional={
        "place": st.sampled_from([5, 5.0, "5", True, None, ["5"]]),
        "tags": st.sampled_from([["a", "b"], [], "a", 5, None]),
        "age": numbers,
    },
)


@st.composite
def labeled(draw: st.DrawFn) -> LabeledImpression:
    """Items of a list in any order, some with a propensity, some with features of earlier updates."""
    positions = tuple(draw(st.lists(st.integers(0, len(ITEMS) - 1), min_size=1, unique=True)))
    prices: dict[str, list[Value]] = draw(
        st.sampled_from([{}, {"price": [1, 2, 3, 4]}, {"price": [0.5, None, 7, "x"]}])
    )
    latest: Features = draw(features)
    known: tuple[Features, ...] = draw(st.sampled_from([(), tuple({"price": n} for n in positions)]))
    return LabeledImpression(
        "A",
        draw(st.integers(0, 10**12)),
        draw(st.sampled_from("uv")),
        ITEMS,
        draw(features),
        prices,
        draw(st.sampled_from([(), (0.1, 0.2, 0.3, 0.4)])),
        "",
        "",
        "",
        positions,
        tuple(float(draw(st.booleans())) for _ in positions),
        draw(st.integers(0, 10**12)),
        1,
        number=draw(st.integers(1, 2**44 - 1)),
        learned=draw(st.booleans()),
        task=draw(st.integers(0, 31)),
        latest_user=draw(st.sampled_from([{}, latest])),
        latest_items=known,
    )


@pytest.mark.slow
@given(st.lists(labeled(), min_size=1, max_size=6))
def test_rows_do_not_depend_on_those_that_are_encoded_with_them(impressions: list[LabeledImpression]) -> None:
    together, alone = Encoder(SPEC), Encoder(SPEC)
    cursors_IP = np.arange(2 * len(impressions)).reshape(-1, 2)
    clocks_I = np.arange(len(impressions)) + 7
    rows = together.encode_rows(label_columns(impressions), cursors_IP, clocks_I)
    each = [
        alone.encode_rows(label_columns([one]), cursors_IP[n : n + 1], clocks_I[n : n + 1])
        for n, one in enumerate(impressions)
    ]
    assert pack(rows) == pack(EncodedRows.concat(each))
    assert together.bad_values == alone.bad_values
