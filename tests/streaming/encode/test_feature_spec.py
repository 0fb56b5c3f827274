from __future__ import annotations

from typing import Any

import pytest

from streaming.encode.feature_spec import FeatureSpec, Field


def test_request_fields_come_first_and_keep_their_order() -> None:
    fields = [
        Field("item", "categorical", "item"),
        Field("hour", "categorical", "time.hour"),
        Field("tags", "multi", "item.tags"),
        Field("age", "numeric", "request.age"),
    ]
    spec = FeatureSpec.of(fields)
    assert [f.name for f in spec.fields] == ["hour", "age", "item", "tags"]
    assert [f.name for f in spec.sparse] == ["hour", "item", "tags"]
    assert [f.name for f in spec.numeric] == ["age"]
    assert FeatureSpec(tuple(reversed(spec.fields))).fields[0].name == "age"


def test_a_table_is_named_after_its_field_unless_told() -> None:
    assert Field("tags", "multi", "item.tags").table == "tags"
    assert Field("tags", "multi", "item.tags", table="words").table == "words"


def test_json_and_back() -> None:
    spec = FeatureSpec.of([Field("a", "numeric", "request.a", transform="log"), Field("b", "multi", "item.b", "t")])
    assert FeatureSpec.from_json(spec.to_json()) == spec
    assert FeatureSpec.from_json(spec.to_json()).fields[1].table == "t"


def history(name: str, **options: Any) -> Field:
    return Field(name, "multi", "user.recent(click, 7)", **{"pooling": "attention"} | options)


def test_a_history_pooled_by_attention_comes_last_of_the_request_and_knows_its_candidate() -> None:
    fields = [
        history("read", table="item"),
        Field("tags", "multi", "item.tags"),
        Field("item", "categorical", "item"),
        Field("user", "categorical", "user"),
        history("mean", table="item", pooling="mean"),
    ]
    spec = FeatureSpec.of(fields)
    assert [field.name for field in spec.sparse] == ["user", "mean", "read", "tags", "item"]
    assert spec.histories == (("read", 2, 4, 7),)
    assert FeatureSpec.from_json(spec.to_json()) == spec


def test_only_a_history_is_pooled_by_attention_and_for_a_candidate_in_its_table() -> None:
    with pytest.raises(ValueError, match=r"field 'tags': only a history, user.recent\(ACTION, N\), is pooled by"):
        Field("tags", "multi", "item.tags", pooling="attention")
    with pytest.raises(ValueError, match="field 'read': pooling 'sum' is not one of mean, self-attention, attention"):
        history("read", pooling="sum")
    with pytest.raises(ValueError, match="no field of source `item` has its table 'read'"):
        FeatureSpec.of([history("read"), Field("item", "categorical", "item")])


def test_a_specification_from_before_a_setting_was_there_has_its_default() -> None:
    spec = FeatureSpec.of([Field("i", "categorical", "item")])
    assert b',"pooling":"mean"' in spec.to_json()
    assert FeatureSpec.from_json(spec.to_json().replace(b',"pooling":"mean"', b"")) == spec


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"name": ""}, "the field with source 'item' has no name"),
        ({"kind": "binary"}, "field 'f': kind 'binary' is not one of categorical, multi, numeric"),
        ({"source": "context.x"}, "field 'f': source 'context.x' is not one of user, item, time.hour"),
        ({"source": "item."}, "field 'f': source 'item.'"),
        ({"source": "time.minute"}, "field 'f': source 'time.minute'"),
        ({"transform": "sqrt", "kind": "numeric"}, "field 'f': transform 'sqrt' is not one of none, log, log1p"),
        ({"transform": "log"}, "field 'f': only numeric fields have a transform"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(field: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Field(**{"name": "f", "kind": "categorical", "source": "item"} | field)


def test_two_fields_of_one_name_and_no_fields_are_refused() -> None:
    field = Field("f", "categorical", "item")
    with pytest.raises(ValueError, match="duplicate field 'f'"):
        FeatureSpec.of([field, field])
    with pytest.raises(ValueError, match="no fields"):
        FeatureSpec.of([])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "truncated"),
        ('{"fields":[{"name":"f","kind":"binary","source":"item"}]}', "binary"),
        ('{"fields":[{"name":"f","kind":"multi","source":"nowhere"}]}', "field 'f': source 'nowhere'"),
    ],
)
def test_json_that_is_no_specification_is_refused(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"not a feature specification: .*{message}"):
        FeatureSpec.from_json(data)
