"""Days with the time of day in a column of its own, numbers that count from an origin, and times without a year."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.event_time import epoch_millis, millis_reader
from streaming.ingest.mapping.time_of_day import time_of_day_reader
from tests.streaming.ingest.shapes.tables import ingested

MINUTE = 60_000
START = epoch_millis(datetime(2024, 3, 1))


@pytest.mark.parametrize(
    ("value", "minutes"),
    [("13:45", 825), ("7:05:30", 425.5), ("1:45 PM", 825), ("12:00 am", 0), ("12.30", 738), ("5", 300), (5, 300),
     (17.5, 1050), (time(13, 45), 825), (b"13:45", 825), ("00:00:00.250", 0.25 / 60)],
)  # fmt: skip
def test_times_of_day(value: Any, minutes: float) -> None:
    assert time_of_day_reader()(value) == round(minutes * MINUTE)


@pytest.mark.parametrize(("value", "minutes"), [("1631", 991), (905, 545), ("0", 0), (905.0, 545), ("905.0", 545)])
def test_times_of_day_by_a_format_of_digits_alone(value: Any, minutes: int) -> None:
    assert time_of_day_reader("%H%M")(value) == minutes * MINUTE


@pytest.mark.parametrize("value", ["24:00", "13:60", "13:5", 24, -1, "noon", "13:00 pm", True, float("nan"), [5]])
def test_what_is_no_time_of_day_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="is not a time of day, such as 13:45"):
        time_of_day_reader()(value)


def test_numbers_count_from_the_origin() -> None:
    assert millis_reader("d", origin=START)("17") == START + 17 * 24 * 60 * MINUTE
    assert millis_reader("min", origin=START)(1.5) == START + 1.5 * MINUTE
    assert millis_reader("s", origin=START)("5") == START + 5000


@pytest.mark.parametrize(
    ("text", "day"), [("0301", "2023-03-01"), (1111, "2023-11-11"), ("105", "2024-01-05"), ("0229", "2024-02-29")]
)
def test_a_day_without_a_year_is_the_first_one_at_or_after_the_origin(text: str | int, day: str) -> None:
    origin = epoch_millis(datetime(2023, 3, 1))
    read = millis_reader("ms", "%m%d", origin)(text)
    assert datetime.fromtimestamp(read / 1000, UTC).date().isoformat() == day


@pytest.mark.parametrize(
    ("text", "pattern", "day"),
    [("0501", "%m%d", "2023-05-01"), ("0430", "%m%d", "2024-04-30"), ("366", "%j", "2024-12-31")],
)
def test_the_day_of_an_origin_at_noon_is_of_its_year_and_day_366_of_a_year_that_has_it(
    text: str, pattern: str, day: str
) -> None:
    read = millis_reader("ms", pattern, epoch_millis(datetime(2023, 5, 1, 12)))(text)
    assert datetime.fromtimestamp(read / 1000, UTC).date().isoformat() == day


def test_an_hour_before_that_of_the_origin_is_in_the_next_year() -> None:
    read = millis_reader("ms", "%m%d%H", epoch_millis(datetime(2023, 5, 1, 12)))
    assert [datetime.fromtimestamp(read(text) / 1000, UTC).year for text in ("050111", "050112")] == [2024, 2023]


@pytest.mark.parametrize(("unit", "pattern"), [("ms", "%Y%m%d"), ("iso", "")])
@pytest.mark.parametrize("value", [20240301.0, "20240301.0"])
def test_a_day_of_digits_that_pandas_gave_a_fraction_is_that_day(unit: Any, pattern: str, value: Any) -> None:
    assert millis_reader(unit, pattern)(value) == START


COLUMNS = {"time": "day", "time_of_day": "at", "user": "user", "item": "item", "actions.click": "clicked"}


def test_day_and_time_of_day_make_the_time_of_an_event(tmp_path: Path) -> None:
    rows = "day,at,user,item,clicked\n2024-03-01,13:45,u,a,1\n2024-03-02,,u,b,1\n2024-03-02,late,u,c,0\n"
    found = ingested(tmp_path / "a.csv", rows, Mapping("shown", COLUMNS, "iso"))
    assert [one.time for one in found.lists] == [START + 825 * MINUTE]
    assert [one.time for one in found.done] == [START + 825 * MINUTE]
    assert {reason for _, reason in found.dead} == {
        "Object missing required field `time`",
        "time_of_day: 'late' in column 'at' is not a time of day, such as 13:45",
    }


def test_interactions_have_their_own_day_origin_and_action(tmp_path: Path) -> None:
    columns = {"time": "day", "time_of_day": "hour", "impression": "list", "item": "item"}
    mapping = Mapping("interaction", columns, "d", origin=START, action="buy")
    found = ingested(tmp_path / "a.csv", "day,hour,list,item\n1,5,r,a\n", mapping)
    assert [(one.time, one.action) for one in found.done] == [(START + 29 * 60 * MINUTE, "buy")]


def test_by_columns_or_one_by_one_every_interaction_has_the_action_of_its_file(tmp_path: Path) -> None:
    mapping = Mapping("interaction", {"time": "t", "impression": "list", "item": "item"}, "s", action="buy")
    plain = ingested(tmp_path / "a.csv", "t,list,item\n1600000000,r,a\n", mapping)
    closer = ingested(tmp_path / "b.csv", "t,list,item\n1600000000,r,7.0\n", mapping)
    assert [one.action for found in (plain, closer) for one in found.done] == ["buy", "buy"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"time_format": "%m%d"}, "has no year"),
        ({"time_format": "%H:%M", "origin": 0}, "has no day"),
        ({"time_of_day_format": "%H%M"}, "no column is mapped to `time_of_day`"),
        ({"time_of_day_format": "%Q"}, "is not a format of a time of day"),
        ({"time_of_day_format": "%I:%M"}, "does not say which hour"),
        ({"action": "buy"}, "'interaction' or 'feedback'"),
    ],
)
def test_settings_that_mean_nothing_are_errors(settings: dict[str, Any], said: str) -> None:
    columns = {name: column for name, column in COLUMNS.items() if name != "time_of_day"}
    with pytest.raises(InvalidValueError, match=said):
        Mapping("shown", columns, **settings)


def test_an_action_of_the_file_beside_a_column_of_actions_is_an_error() -> None:
    with pytest.raises(InvalidValueError, match="remove one of the two"):
        Mapping("feedback", {"time": "t", "user": "u", "item": "i", "action": "a"}, action="buy")


def test_start_with_a_time_of_day_or_an_origin_is_an_error() -> None:
    columns = {"user": "u", "item": "i"}
    with pytest.raises(InvalidValueError, match="in place of `start`"):
        Mapping("feedback", columns | {"time_of_day": "h"}, start=0)
    with pytest.raises(InvalidValueError, match="files without times"):
        Mapping("feedback", columns, start=0, origin=0)
