"""JSON lines become events, or are refused with a reason that names what is wrong."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import EVENT_SCHEMA, Event, Impression, Interaction, ItemUpdate, UserUpdate
from streaming.ingest.codec import Rules, content_id, decode_lines, encode_event, encode_events, to_events
from tests.streaming.strategies import NOW, events

IMPRESSION = {"type": "impression", "id": "i", "time": 5, "user": "u", "items": ["a", "b"]}
INTERACTION = {"type": "interaction", "time": 5, "impression": "i", "item": "a"}
USER = {"type": "user", "time": 5, "user": "u", "features": {"age": 3}}
ITEM = {"type": "item", "time": 5, "item": "a", "features": {"genres": ["x", 1]}}


def one(value: dict[str, Any] | bytes, rules: Rules | None = None, now: int = NOW) -> Event | str:
    """The event, or the reason for which there is none."""
    line = value if isinstance(value, bytes) else json.dumps(value).encode()
    batch, rejects = decode_lines([line], now, rules)
    assert batch.num_rows + len(rejects) == 1
    assert all(reject.line == 0 and reject.raw == line for reject in rejects)
    return rejects[0].reason if rejects else to_events(batch)[0]


def with_ids(given_events: list[Event]) -> list[Event]:
    return [msgspec.structs.replace(event, id=event.id or content_id(event)) for event in given_events]


def test_the_four_kinds_and_their_defaults() -> None:
    assert one(IMPRESSION) == Impression("i", 5, "u", ["a", "b"])
    click = one(INTERACTION)
    assert isinstance(click, Interaction)
    assert (click.impression, click.item, click.action, click.value) == ("i", "a", "click", 1.0)
    assert isinstance(one(USER), UserUpdate)
    assert isinstance(one(ITEM), ItemUpdate)


@pytest.mark.slow
@given(st.lists(events, max_size=12))
def test_events_survive_the_way_through_json_and_arrow(given_events: list[Event]) -> None:
    lines = [msgspec.json.encode(event) for event in given_events]
    batch, rejects = decode_lines(b"\n".join(lines), NOW)
    assert not rejects
    assert batch.schema.equals(EVENT_SCHEMA)
    batch.validate(full=True)
    assert to_events(batch) == with_ids(given_events)
    assert batch.equals(encode_events(given_events))


@pytest.mark.slow
@given(st.lists(events, min_size=1, max_size=6))
def test_columns_that_a_kind_does_not_have_are_null(given_events: list[Event]) -> None:
    for event, row in zip(given_events, encode_events(given_events).to_pylist(), strict=True):
        has = {"kind", *event.__struct_fields__}
        if isinstance(event, ItemUpdate) and event.available is not msgspec.UNSET:
            has.add("value")
        if isinstance(event, Impression):
            has |= {"value"} if event.latency is not None else set()
            has |= {"action"} if event.degraded else set()
        assert {name for name, value in row.items() if value is not None} == has - {"available", "latency", "degraded"}


def test_an_item_can_be_withdrawn_without_a_word_about_its_features() -> None:
    withdrawn = one({"type": "item", "time": 5, "item": "a", "available": False})
    silent = one({"type": "item", "time": 5, "item": "a"})
    assert isinstance(withdrawn, ItemUpdate)
    assert isinstance(silent, ItemUpdate)
    assert withdrawn.available is False
    assert withdrawn.features == {}
    assert silent.available is msgspec.UNSET
    assert "available" in str(one(ITEM | {"available": "no"}))


def test_an_update_that_does_not_say_whether_an_item_is_available_has_the_id_it_always_had() -> None:
    content = b'{"type":"item","time":5,"item":"a","features":{"b":1},"id":""}'
    assert content_id(ItemUpdate(time=5, item="a", features={"b": 1})) == xxh3_128_hexdigest(content)


def test_one_event_is_a_batch_of_one_row() -> None:
    event = Impression("i", 5, "u", ["a"], features={"x": None}, propensities=[0.5])
    assert to_events(encode_event(event)) == [event]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_are_refused_and_counted(data: bytes) -> None:
    batch, rejects = decode_lines(data, NOW)
    assert batch.num_rows == 0
    assert len(rejects) == sum(1 for line in data.split(b"\n") if line.strip())
    assert all(reject.reason for reject in rejects)


@pytest.mark.slow
@given(st.lists(events, min_size=1, max_size=3), st.data())
def test_a_damaged_line_spares_its_neighbours(given_events: list[Event], data: st.DataObject) -> None:
    lines = [msgspec.json.encode(event) for event in given_events]
    victim = data.draw(st.integers(0, len(lines) - 1))
    cut = data.draw(st.integers(1, len(lines[victim]) - 1))
    lines[victim] = lines[victim][:cut]
    batch, rejects = decode_lines(lines, NOW)
    assert [reject.line for reject in rejects] == [victim]
    assert to_events(batch) == with_ids(given_events[:victim] + given_events[victim + 1 :])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (
            b'{"type":"view","time":1}',
            r"Invalid value 'view'; the kinds are impression, interaction, user, item - at `\$.type`",
        ),
        (b'{"type":5,"time":1}', r"; the kinds are .* - at `\$.type`"),
        (b'{"time":1}', "missing required field `type`; the kinds are impression, interaction, user, item"),
        ({**IMPRESSION, "user": ""}, r"length >= 1 - at `\$.user`"),
        ({k: v for k, v in IMPRESSION.items() if k != "user"}, "missing required field `user`"),
        ({**IMPRESSION, "usr": "x"}, "unknown field `usr`"),
        ({**IMPRESSION, "time": "now"}, r"Expected `int`, got `str` - at `\$.time`"),
        ({**IMPRESSION, "time": -1}, r">= 0 - at `\$.time`"),
        ({**IMPRESSION, "time": NOW + 5 * 60_000 + 1}, "time: .* more than 5 minutes after the clock"),
        ({**IMPRESSION, "time": 4_070_908_800_000}, "time: "),  # the year 2099
        ({**IMPRESSION, "time": 10**30}, r"\$.time"),
        ({**IMPRESSION, "items": []}, r"length >= 1 - at `\$.items`"),
        ({**IMPRESSION, "items": ["a", "b", "a"]}, "items: duplicate item 'a'"),
        ({**IMPRESSION, "items": ["a", 1]}, r"got `int` - at `\$.items\[1\]`"),
        ({**IMPRESSION, "scores": [1]}, "scores: 1 values for 2 items"),
        ({**IMPRESSION, "propensities": [0.1, 0.1, 0.1]}, "propensities: 3 values for 2 items"),
        ({**IMPRESSION, "propensities": [0.5, 0]}, "propensities: a probability"),
        ({**IMPRESSION, "propensities": [0.5, 1.01]}, "propensities: a probability"),
        ({**IMPRESSION, "item_features": {"price": [1]}}, "item_features.price: 1 values for 2 items"),
        ({**IMPRESSION, "item_features": {"price": [1, {}]}}, "item_features.price: Expected"),
        ({**IMPRESSION, "features": {"ok": 1, "bad": {}}}, "features.bad: Expected"),
        ({**IMPRESSION, "features": {"bad": [1.5]}}, "features.bad: Expected"),
        ({**IMPRESSION, "features": {"bad": 2**63}}, "features.bad: Expected"),
        ({**IMPRESSION, "features": []}, r"Expected `object`, got `array` - at `\$.features`"),
        ({**INTERACTION, "value": float("nan")}, "value: NaN is not a number that JSON has"),
        ({**INTERACTION, "value": 1e21}, r"`float` <= 1000000000000000.0 - at `\$.value`"),
        ({**IMPRESSION, "scores": [1, float("-inf")]}, r"scores\[1\]: -Infinity is not a number"),
        ({**USER, "features": {"age": float("inf")}}, "features.age: Infinity is not a number"),
        (b'{"type":"interaction","time":1,"impression":"i","item":"a","value":1e999}', r"out of range - at `\$.value`"),
        (b'{"type":"user","time":1,"user":"u","features":{"age":1e999}}', "^features.age: a number out of range"),
        (
            b'{"type":"user","time":1,"user":"u","features":{"age":' + b"9" * 5000 + b"}}",
            "^features.age: Expected `int`",
        ),
        (b'{"type":"user","time":1,"user":"\xff","features":{}}', "not UTF-8 at byte 32"),
        (b'{"type":"user","time":1,"user":"\\ud800","features":{}}', "malformed"),
        (b'{"type":"user","time":1,"user":"u","features":{"\\ud800":{}}}', r"^features.\\ud800: Expected"),
        (b'"\\ud800"', "truncated"),
        (b"[" * 100_000, "Expected `object`"),
        (b'{"type":"user","time":1,"user":"u","features":{"x":' + b"[" * 100_000, "features"),
        ({**INTERACTION, "item": "x" * 513}, r"length <= 512 - at `\$.item`"),
    ],
)
def test_what_is_refused_and_why(line: dict[str, Any] | bytes, reason: str) -> None:
    answer = one(line)
    assert isinstance(answer, str)
    assert re.search(reason, answer), answer


def test_time_may_be_as_late_as_the_clock_allows() -> None:
    rules = Rules(max_future=10)
    assert isinstance(one({**INTERACTION, "time": 110}, rules, now=100), Interaction)
    assert isinstance(one({**INTERACTION, "time": 111}, rules, now=100), str)


def test_a_line_may_be_as_long_as_the_bound() -> None:
    line = json.dumps({**USER, "features": {"text": "x" * 100}}).encode()
    assert isinstance(one(line, Rules(max_line=len(line))), UserUpdate)
    assert one(line, Rules(max_line=len(line) - 1)) == f"longer than {len(line) - 1} bytes"
    assert one(b'"' + b"x" * (10 << 20) + b'"') == "longer than 1048576 bytes"


SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("age", "numeric", "request.age"),
        Field("tags", "multi", "request.tags"),
        Field("genre", "categorical", "item.genre"),
    ]
)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({**IMPRESSION, "features": {"age": 3, "tags": ["a"]}, "item_features": {"genre": ["x", None]}}, None),
        ({**USER, "features": {"age": 1.5, "tags": None}}, None),
        ({**ITEM, "features": {"genre": True}}, None),
        ({**IMPRESSION, "features": {"agee": 3}}, "features.agee: unknown feature; known are age, tags"),
        ({**IMPRESSION, "item_features": {"genre": ["x", 0.5]}}, "item_features.genre: 0.5 is not categorical"),
        ({**IMPRESSION, "item_features": {"age": [1, 2]}}, "item_features.age: unknown feature; known are genre"),
        ({**USER, "features": {"age": "old"}}, "features.age: 'old' is not numeric"),
        ({**USER, "features": {"age": True}}, "features.age: True is not numeric"),
        ({**USER, "features": {"age": 1e15}}, None),
        ({**USER, "features": {"age": 1e21}}, "features.age: 1e+21 is not between -1e+15 and 1e+15"),
        ({**USER, "features": {"age": -(10**16)}}, f"features.age: -1{'0' * 16} is not between -1e+15 and 1e+15"),
        ({**USER, "features": {"tags": "a"}}, "features.tags: 'a' is not multi"),
        ({**ITEM, "features": {"age": 1}}, "features.age: unknown feature; known are genre"),
    ],
)
def test_with_known_features_others_are_refused(event: dict[str, Any], reason: str | None) -> None:
    answer = one(event, Rules.of(SPEC))
    assert answer == reason if isinstance(answer, str) else reason is None


def test_unknown_features_may_be_kept_while_the_known_ones_keep_their_kind() -> None:
    rules = Rules.of(SPEC, keep_unknown=True)
    assert isinstance(one({**USER, "features": {"age": 1, "title": "x"}}, rules), UserUpdate)
    assert one({**USER, "features": {"age": "old", "title": "x"}}, rules) == "features.age: 'old' is not numeric"


def test_equal_content_gets_an_equal_id_whatever_the_order_of_fields() -> None:
    first = one(b'{"type":"user","time":5,"user":"u","features":{"a":1,"b":2}}')
    second = one(b'{"features": {"b":2,"a":1}, "user":"u", "time":5, "type":"user"}')
    other = one(b'{"type":"item","time":5,"item":"u","features":{"a":1,"b":2}}')
    assert not isinstance(first, str)
    assert not isinstance(second, str)
    assert not isinstance(other, str)
    assert first.id == second.id != other.id
    assert len(first.id) == 32


def test_blank_lines_are_neither_event_nor_reject() -> None:
    line = json.dumps(USER).encode()
    batch, rejects = decode_lines(b"\n" + line + b"\r\n  \n\n" + line, NOW)
    assert (batch.num_rows, rejects) == (2, [])
