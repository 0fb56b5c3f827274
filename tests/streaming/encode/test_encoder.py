"""Shape suffixes: B rows, N numeric fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from streaming.encode.batch import Jagged
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.encode.feature_spec import FeatureSpec, Field, Kind
from streaming.encode.row_keys import read_key
from streaming.events.schema import Features, Value
from streaming.join.labeled_impression import LabeledImpression

HOUR = 3_600_000


def example(
    items: Sequence[str] = ("i",),
    positions: Sequence[int] = (0,),
    features: Features | None = None,
    item_features: dict[str, list[Value]] | None = None,
    **changes: Any,
) -> LabeledImpression:
    fields: dict[str, Any] = {
        "id": "A",
        "time": 0,
        "user": "u",
        "items": tuple(items),
        "features": features or {},
        "item_features": item_features or {},
        "propensities": (),
        "experiment": "",
        "arm": "",
        "model": "",
        "positions": tuple(positions),
        "labels": (0.0,) * len(positions),
        "decided": 1,
        "sequence": 1,
    }
    return LabeledImpression(**fields | changes)


def encoder(*fields: Field) -> Encoder:
    return Encoder(FeatureSpec.of(fields))


def id_of(table: str, text: str) -> int:
    """The definition of an id."""
    return xxhash.xxh3_64_intdigest(text.encode(), seed=xxhash.xxh3_64_intdigest(table.encode()))


def lists(jagged: Jagged) -> list[list[int]]:
    ends = np.cumsum(jagged.lengths_B).tolist()
    return [jagged.values[start:end].tolist() for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("DE", "DE"),
        ("", ""),
        ("żółć 🎈", "żółć 🎈"),
        (5, "5"),
        (-(2**63), "-9223372036854775808"),
        (True, "true"),
        (False, "false"),
        (5.0, "5"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (None, "\x00missing"),
    ],
)
def test_a_category_is_hashed_as_text_with_its_tables_seed(value: Value, text: str) -> None:
    ids, _ = encoder(Field("f", "categorical", "request.f", "t")).encode_request("u", 0, {"f": value})
    assert ids["f"].values.tolist() == [id_of("t", text)]
    assert ids["f"].values.dtype == np.uint64
    assert ids["f"].lengths_B.dtype == np.int32


def test_equal_values_have_equal_ids_in_a_shared_table_only() -> None:
    fields = [Field("a", "categorical", "request.a", "t"), Field("b", "multi", "request.b", "t")]
    ids, _ = encoder(*fields, Field("c", "categorical", "request.a")).encode_request("u", 0, {"a": "x", "b": ["x"]})
    assert ids["a"].values == ids["b"].values
    assert ids["a"].values != ids["c"].values


def test_a_multi_field_has_as_many_ids_as_values() -> None:
    tags: list[Value] = [["a", 1], [], None, "a"]
    ids, _ = encoder(Field("f", "multi", "item.f")).encode_items(list("wxyz"), [{"f": value} for value in tags])
    a, one = id_of("f", "a"), id_of("f", "1")
    assert lists(ids["f"]) == [[a, one], [], [], [a]]


@pytest.mark.parametrize(
    ("transform", "value", "expected"),
    [
        ("none", 3, 3.0),
        ("none", True, 1.0),
        ("none", None, 0.0),
        ("log", 2, 2.0),
        ("log", -7.5, -7.5),
        ("log", 10, math.log(10) ** 2),
        ("log1p", 9, math.log(10)),
        ("log1p", -9, -math.log(10)),
        ("log1p", None, 0.0),
        ("none", 1e300, 1e15),  # what the edge refuses is still finite when it comes from an older log
        ("log", 1e300, math.log(1e15) ** 2),
    ],
)
def test_numbers(transform: Any, value: Value, expected: float) -> None:
    field = Field("f", "numeric", "request.f", transform=transform, scale="none")
    _, numeric_1N = encoder(field).encode_request("u", 0, {"f": value})
    assert numeric_1N.dtype == np.float32
    assert numeric_1N.tolist() == [[pytest.approx(expected)]]


def test_hours_and_weekdays_are_those_of_utc() -> None:
    kinds: list[Kind] = ["categorical", "numeric"]
    fields = [Field(f"{unit}-{kind}", kind, f"time.{unit}") for unit in ("hour", "weekday") for kind in kinds]
    time = 1_508_065_200_000  # Sunday, 15 October 2017, 11:00 UTC
    ids, numeric_1N = encoder(*fields).encode_request("u", time, {})
    assert numeric_1N.tolist() == [[11, 6]]
    assert ids["hour-categorical"].values == id_of("hour-categorical", "11")
    assert ids["weekday-categorical"].values == id_of("weekday-categorical", "6")


def test_rows_of_examples() -> None:
    examples = [
        example(["x", "y", "z"], [0, 2], time=5, arm="a", labels=(0.0, 1.0), propensities=(0.5, 1.0, 0.25), decided=9),
        example(["y"], [0], id="B", user="v", time=6, decided=12),
    ]
    fields = Field("user", "categorical", "user"), Field("item", "categorical", "item")
    batch = encoder(*fields).encode_impressions(examples, None, cursor=(7, 8))
    assert lists(batch.ids["user"]) == [[id_of("user", user)] for user in "uuv"]
    assert lists(batch.ids["item"]) == [[id_of("item", item)] for item in "xzy"]
    assert batch.labels_B.tolist() == [0, 1, 0]
    assert batch.weights_B.tolist() == [1, 1, 1]
    assert batch.propensities_B.tolist() == [0.5, 0.25, 1]
    assert batch.positions_B.dtype == np.int32
    assert batch.positions_B.tolist() == [0, 2, 0]
    assert batch.times_B.tolist() == [5, 5, 6]
    assert (batch.now, batch.cursor, batch.numeric_BN.shape) == (12, (7, 8), (3, 0))


def test_items_may_be_labelled_in_any_order_even_all_at_once() -> None:
    """As clicks that came before their impression are: in the order in which they came."""
    fields = Field("item", "categorical", "item"), Field("price", "numeric", "item.price", scale="none")
    shown = example(["x", "y", "z"], [2, 0, 1], item_features={"price": [5, 6, 7]}, labels=(1.0, 0.0, 1.0))
    batch = encoder(*fields).encode_impressions([shown], None, (0,))
    assert lists(batch.ids["item"]) == [[id_of("item", item)] for item in "zxy"]
    assert batch.numeric_BN.tolist() == [[7], [5], [6]]
    assert [read_key(key).position for key in batch.keys_B.tolist()] == batch.positions_B.tolist() == [2, 0, 1]


def test_a_row_knows_its_task_and_shares_its_key_with_no_other_task() -> None:
    shown = [example(("a", "b"), (0, 1), number=number, task=task) for number in (1, 1 << 40) for task in (0, 1, 31)]
    batch = encoder(Field("item", "categorical", "item")).encode_impressions(shown, None, (0,))
    assert batch.tasks_B.tolist() == [0, 0, 1, 1, 31, 31] * 2
    assert len(set(batch.keys_B.tolist())) == 12
    assert (batch.keys_B > 0).all()
    said = [(one.task, one.number, position) for one in shown for position in one.positions]
    assert [read_key(key) for key in batch.keys_B.tolist()] == said


def test_the_impressions_own_features_go_before_updates_even_when_they_are_null() -> None:
    entities = EntityState(10)
    entities.users.update("u", 0, {"age": 30, "size": 3})
    entities.items.update("x", 0, {"price": 7, "age": 1})
    fields = [Field(name, "numeric", f"request.{name}") for name in ("age", "size")]
    fields += [Field("price", "numeric", "item.price"), Field("item_age", "numeric", "item.age")]
    shown = example(["x", "y"], [0, 1], {"age": None}, {"price": [5, None]})
    batch = encoder(*fields).encode_impressions([shown], entities, (0,))
    np.testing.assert_array_equal(batch.numeric_BN, np.array([[np.nan, 3, 5, 1], [np.nan, 3, np.nan, np.nan]]))


def test_a_bad_value_in_the_log_is_missing_and_counted() -> None:
    coder = encoder(
        Field("n", "numeric", "request.n", scale="none"),
        Field("c", "categorical", "request.c"),
        Field("m", "multi", "item.m"),
    )
    shown = example(["x", "y"], [0, 1], {"n": "5", "c": ["a"]}, {"m": [["a"], 1.5]})
    batch = coder.encode_impressions([shown], None, (0,))
    assert batch.numeric_BN.tolist() == [[0], [0]]
    assert lists(batch.ids["c"]) == [[id_of("c", "\x00missing")]] * 2
    assert coder.bad_values == {"n": 1, "c": 1, "m": 0}


@pytest.mark.parametrize("value", ["5", [1], math.inf, math.nan, 10**400])
def test_serving_names_the_field_of_a_value_that_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match="field 'f' takes a finite number, not"):
        encoder(Field("f", "numeric", "request.f")).encode_request("u", 0, {"f": value})


@pytest.mark.parametrize("value", [["a"], math.nan, {"a": 1}])
def test_serving_names_the_field_of_a_value_that_is_no_category(value: Any) -> None:
    with pytest.raises(ValueError, match="field 'f' takes a string, a number or a bool, not"):
        encoder(Field("f", "categorical", "item.f")).encode_items(["x"], [{"f": value}])


def test_items_without_their_features_are_refused() -> None:
    with pytest.raises(ValueError, match="2 items, but features of 1"):
        encoder(Field("item", "categorical", "item")).encode_items(["x", "y"], [{}])


def test_the_cache_of_hashes_is_bounded_and_changes_nothing() -> None:
    small = Encoder(FeatureSpec.of([Field("item", "categorical", "item")]), cache=3)
    items = [str(i % 5) for i in range(50)]
    ids, _ = small.encode_items(items, [{}] * 50)
    assert ids["item"].values.tolist() == [id_of("item", item) for item in items]
    assert max(len(hashes) for hashes in small._hashes.values()) <= 3


FIELDS = [
    Field("user", "categorical", "user", "people"),
    Field("rc", "categorical", "request.c"),
    Field("rm", "multi", "request.m"),
    Field("rn", "numeric", "request.n", transform="log"),
    Field("hour", "categorical", "time.hour"),
    Field("weekday", "numeric", "time.weekday"),
    Field("item", "categorical", "item", "things"),
    Field("ic", "categorical", "item.c"),
    Field("im", "multi", "item.m"),
    Field("in", "numeric", "item.n", transform="log1p"),
]
category = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e9, 1e9) | st.text(max_size=4)
many = st.none() | st.lists(st.text(max_size=3) | st.integers(0, 9), max_size=3) | st.text(max_size=3)
number = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
sides = st.fixed_dictionaries({}, optional={"c": category, "m": many, "n": number})


@pytest.mark.slow
@given(sides, st.dictionaries(st.text(min_size=1, max_size=3), sides, min_size=1, max_size=4), st.integers(0, 2**42))
def test_training_and_serving_see_the_same(request: Features, items: dict[str, Features], time: int) -> None:
    """However features reach training: in the impression, or by updates."""
    coder, names = encoder(*FIELDS), list(items)
    entities = EntityState(10)
    entities.users.update("u", time, request)
    for name, features in items.items():
        entities.items.update(name, time, features)
    columns = {key: [features.get(key) for features in items.values()] for key in "cmn"}
    logged = example(names, range(len(names)), request, columns, time=time)
    updated = example(names, range(len(names)), time=time)

    request_ids, request_1N = coder.encode_request("u", time, request)
    item_ids, item_BN = coder.encode_items(names, list(items.values()))
    for batch in (coder.encode_impressions([e], entities, (0,)) for e in (logged, updated)):
        assert list(batch.ids) == [*request_ids, *item_ids]
        for name, jagged in request_ids.items():
            assert lists(batch.ids[name]) == lists(jagged) * len(names)
        for name, jagged in item_ids.items():
            assert lists(batch.ids[name]) == lists(jagged)
        served_BN = np.hstack([request_1N.repeat(len(names), 0), item_BN])
        np.testing.assert_array_max_ulp(batch.numeric_BN, served_BN, maxulp=1)  # logarithms of arrays of other lengths
        assert not np.isinf(batch.numeric_BN).any()
