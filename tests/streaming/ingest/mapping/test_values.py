"""Values of tables: each by a stated rule, or refused with its column; nothing becomes text by accident."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import InvalidValueError
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.formats.sources import BEGIN
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.event_time import millis_reader
from streaming.ingest.mapping.formatted_time import check_format
from streaming.ingest.mapping.row_mapper import RowMapper

COLUMNS = {"id": "id", "time": "t", "user": "u", "items": "i", "features.f": "f"}
ROW: dict[str, Any] = {"id": "r", "t": 5, "u": "u", "i": ["a"], "f": None}


def mapped(kind: Any = None, **cells: Any) -> dict[str, Any]:
    mapper = RowMapper(Mapping("impression", COLUMNS, kinds={"f": kind}))
    event: dict[str, Any] = json.loads(msgspec.json.encode(mapper.fields(list((ROW | cells).values()))))
    return event


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        (1.0, "1"),
        ("500.0", "500"),
        ("-3.0", "-3"),
        ("1.2.0", "1.2.0"),
        (".0", ".0"),
        (2**64 - 1, str(2**64 - 1)),
        (Decimal("7.00"), "7"),
        (Decimal("1.50"), "1.50"),
        ("é".encode(), "é"),
        (date(2020, 1, 2), "2020-01-02"),
    ],
)
def test_identifiers_by_rule(value: Any, id_: str) -> None:
    assert mapped(u=value)["user"] == id_
    assert mapped(i=[value, "z"])["items"] == [id_, "z"]


def test_a_separator_behind_the_last_item_begins_no_other() -> None:
    assert mapped(i="a|b|")["items"] == ["a", "b"]
    with pytest.raises(InvalidValueError, match="lacks a value in the list"):
        mapped(i="a||b")


@pytest.mark.parametrize("value", [None, "", "null", "NULL", "nan", "NaN", "None", r"\N", float("nan")])
def test_words_for_nothing_are_no_users(value: Any) -> None:
    assert "user" not in mapped(u=value)
    with pytest.raises(InvalidValueError, match=r"items: .* in column 'i' lacks a value in the list"):
        mapped(i=["a", value])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.5, "is not an identifier; write text or an integer"),
        (True, "is not an identifier"),
        (b"\xff", "is binary and not UTF-8"),
        ({"id": "x"}, "is a struct; name one of its fields, such as 'COLUMN.id'"),
        (timedelta(1), "is a timedelta; write text or a number"),
    ],
)
def test_values_that_are_no_identifiers_are_refused_with_their_column(value: Any, reason: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"user: .* in column 'u' {reason}"):
        mapped(u=value)
    with pytest.raises(InvalidValueError, match=rf"items: .* in column 'i' {reason}"):
        mapped(i=[value])
    with pytest.raises(InvalidValueError, match=r"user: .* in column 'u' is a list, not a single value"):
        mapped(u=["a", "b"])


@pytest.mark.parametrize(
    ("kind", "value", "feature"),
    [
        ("numeric", Decimal("12.50"), 12.5),
        ("numeric", "1e3", 1000),
        ("numeric", "1_000", "1_000"),  # which the model's kind refuses
        ("numeric", "null", None),
        ("numeric", float("inf"), None),
        ("categorical", 3.0, 3),
        ("categorical", "01.0", "01.0"),
        (None, b"xy", "xy"),
        (None, [b"x", "y"], ["x", "y"]),
        (None, datetime(2020, 1, 2, 3, tzinfo=UTC), "2020-01-02T03:00:00+00:00"),
    ],
)
def test_features_by_rule(kind: Any, value: Any, feature: Any) -> None:
    assert mapped(kind, f=value)["features"]["f"] == feature


def test_spaces_around_the_parts_of_a_cell_belong_to_the_separator() -> None:
    assert mapped(i="a | b c|d")["items"] == ["a", "b c", "d"]


@pytest.mark.parametrize(
    ("unit", "value", "millis"),
    [
        ("s", "1600000000.5", 1_600_000_000_500),
        ("s", "1.6E9", 1_600_000_000_000),
        ("us", 1_600_000_000_123_999, 1_600_000_000_123),
        ("ns", "1600000000123999999", 1_600_000_000_123),
        ("iso", "2020-09-13T12:26:40Z", 1_600_000_000_000),
        ("iso", datetime(2020, 9, 13, 12, 26, 40), 1_600_000_000_000),
        ("iso", 20200913, 1_599_955_200_000),
    ],
)
def test_times_in_units(unit: Any, value: Any, millis: int) -> None:
    assert millis_reader(unit)(value) == millis


@pytest.mark.parametrize(
    ("unit", "value"),
    [("s", "1_600_000_000"), ("s", "1,600,000,000"), ("s", "infinity"), ("s", float("nan")), ("ms", True), ("iso", 5)],
)
def test_what_is_no_time_in_the_unit_is_refused(unit: Any, value: Any) -> None:
    with pytest.raises(InvalidValueError, match="is not"):
        millis_reader(unit)(value)


def test_times_by_their_format() -> None:
    assert millis_reader("ms", "%d-%m-%Y %H:%M")("29-01-2021 07:01") == 1_611_903_660_000
    assert millis_reader("ms", "%d/%b/%Y:%H:%M:%S %z")("29/Jan/2021:09:01:00 +0200") == 1_611_903_660_000
    assert millis_reader("s", "%d-%m-%Y %H:%M")(1_611_903_660) == 1_611_903_660_000
    with pytest.raises(InvalidValueError, match='is not as time_format = "%d-%m-%Y"'):
        millis_reader("ms", "%d-%m-%Y")("2021-01-29")
    for pattern in ("%Y %Z", "%Q"):
        with pytest.raises(InvalidValueError, match="time_format: "):
            check_format(pattern)


def test_interactions_with_a_user_in_place_of_a_list_are_shown_the_kind_for_them() -> None:
    with pytest.raises(InvalidValueError, match="has no field 'user'; kind = 'feedback' is for what users did"):
        Mapping("interaction", {"time": "t", "user": "u", "item": "i"})


def test_ids_of_several_columns_and_alternatives_of_others() -> None:
    columns = {"id": ["session", "step"], "time": "t", "user": ["login", "device"], "items": "i"}
    mapper = RowMapper(Mapping("impression", columns))

    def event(*cells: Any) -> Any:
        return json.loads(msgspec.json.encode(mapper.fields(cells)))

    whole = event("s", 1, 5, "", "d", "a")
    assert (whole["id"], whole["user"]) == ("s:1", "d")
    assert event("s", 1, 5, "l", "d", "a")["user"] == "l"
    assert "id" not in event("s", None, 5, "l", "d", "a")


def test_json_lines_of_another_schema_by_paths(tmp_path: Path) -> None:
    rows = [
        {"ctx": {"user": {"id": 7}}, "at": "2020-09-13T12:26:40Z", "id": 1, "shown": [{"sku": "a"}, {"sku": "b"}]},
        {"ctx": {}, "anonymous.id": "x", "at": "2020-09-13T12:26:40Z", "id": 2, "shown": [{"sku": "a"}]},
        {"ctx": {}, "at": "soon", "id": 3, "shown": []},
        [1],
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    columns = {"id": "id", "time": "at", "user": ["ctx.user.id", "anonymous.id"], "items": "shown.sku"}
    (block,) = open_source(tmp_path / "a.jsonl", Mapping("impression", columns, "iso")).blocks(BEGIN)
    found = [json.loads(line) for line in getattr(block, "lines", ()) if line]
    assert [(event["id"], event["user"], event["items"]) for event in found] == [
        ("1", "7", ["a", "b"]),
        ("2", "x", ["a"]),
    ]
    faults = getattr(block, "faults", {})
    assert list(faults) == [2, 3, 4]
    assert faults[2] == "time: 'soon' in column 'at' is not ISO 8601 (time_unit = \"iso\")"


def test_a_struct_of_parquet_by_its_path(tmp_path: Path) -> None:
    table = pa.table({"id": ["r"], "t": [5], "u": [{"id": 3.0}], "i": [[{"sku": "a"}, {"sku": "b"}]]})
    pq.write_table(table, tmp_path / "a.parquet")
    columns = {"id": "id", "time": "t", "user": "u.id", "items": "i.sku"}
    (block,) = open_source(tmp_path / "a.parquet", Mapping("impression", columns)).blocks(BEGIN)
    found = [json.loads(line) for line in getattr(block, "lines", ())]
    assert found == [{"type": "impression", "id": "r", "time": 5, "user": "3", "items": ["a", "b"]}]
    with pytest.raises(InvalidValueError, match=r"has no column 'u\.name'"):
        open_source(tmp_path / "a.parquet", Mapping("impression", columns | {"user": "u.name"}))
