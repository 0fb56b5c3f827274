"""Times in several columns, or counted from a moment that only the user knows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.errors import InvalidValueError
from recsys.proposal.proposal import propose
from recsys.proposal.roles.roles import Said
from tests.recsys.proposal.test_public_formats import T, tried, written

STEP = 400
ROWS = 240


def log(folder: Path, header: str, form: str) -> Path:
    """A CSV with a label in every row; `form` is that of the times, as `strftime` has it."""
    rows = []
    for n in range(ROWS):
        at = datetime.fromtimestamp(T + STEP * n, UTC).strftime(form)
        rows.append(f"{at},u{n % 23},i{n % 31},{n % 2}")
    return written(folder, "a.csv", [f"{header},user,item,clicked", *rows])


@pytest.mark.parametrize(
    ("header", "form", "clock"),
    [
        ("date,time", "%Y-%m-%d,%H:%M", ""),
        ("time,date", "%I:%M %p,%m/%d/%Y", ""),
        ("date,hour", "%Y%m%d,%H", ""),
        ("day,order_hour_of_day", "%d.%m.%Y,%H", ""),
        ("date,hourmin", "%Y%m%d,%H%M", "%H%M"),
    ],
)
def test_the_time_of_day_may_stand_in_a_column_of_its_own(tmp_path: Path, header: str, form: str, clock: str) -> None:
    proposal, found = tried(tmp_path, [log(tmp_path, header, form)])
    (mapping,) = proposal.mappings
    day, time = sorted(header.split(","), key=lambda name: name not in ("date", "day"))
    assert (mapping.columns["time"].value, mapping.columns["time_of_day"].value) == (day, time)
    assert mapping.raw().get("time_of_day_format", "") == clock
    assert (found.labels, found.positives) == (ROWS, ROWS / 2)
    assert 'source = "time.hour"' in proposal.text


def test_of_days_alone_there_is_no_hour_to_learn_from(tmp_path: Path) -> None:
    proposal, _ = tried(tmp_path, [log(tmp_path, "date", "%Y-%m-%d")])
    assert "time.hour" not in proposal.text


def test_a_time_of_day_beside_a_whole_time_stays_a_feature(tmp_path: Path) -> None:
    proposal, _ = tried(tmp_path, [log(tmp_path, "time,hour", "%Y-%m-%d %H:%M:%S,%H")])
    assert "time_of_day" not in proposal.mappings[0].columns


def test_a_time_of_day_without_days_is_asked_about(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="'time' has times of day, and no column has the days"):
        propose([log(tmp_path, "time", "%H:%M")], Said())


def test_numbers_of_days_count_from_what_the_user_says(tmp_path: Path) -> None:
    rows = [f"{17 + n // 24},{n % 24},u{n % 23},i{n % 31},{n % 2}" for n in range(ROWS)]
    path = written(tmp_path, "a.csv", ["day,hour,user,item,clicked", *rows])
    with pytest.raises(InvalidValueError, match=r"the numbers in 'day' \(17 to 26\) count days .* --origin 2024-01-01"):
        propose([path], Said())
    _, found = tried(tmp_path, [path], Said(origin="2024-01-01"))
    assert found.span is not None
    assert datetime.fromtimestamp(found.span[0] / 1000, UTC) == datetime(2024, 1, 18, tzinfo=UTC)
    assert found.labels == ROWS


def test_of_other_numbers_the_user_says_the_unit_too(tmp_path: Path) -> None:
    rows = [f"{5 * n},u{n % 23},i{n % 31},{n % 2}" for n in range(ROWS)]
    path = written(tmp_path, "a.csv", ["timestamp,user,item,clicked", *rows])
    with pytest.raises(
        InvalidValueError, match=r"the numbers in 'timestamp' \(0 to 1195\) count time .* --time-unit s"
    ):
        propose([path], Said())
    with pytest.raises(InvalidValueError, match="say with --time-unit what the numbers in 'timestamp'"):
        propose([path], Said(origin="2024-01-01"))
    _, found = tried(tmp_path, [path], Said(origin="2024-01-01", time_unit="s"))
    assert found.labels == ROWS


@pytest.mark.parametrize("form", ["%m%d", "%-m%d"])
def test_days_without_a_year_follow_on_what_the_user_says(tmp_path: Path, form: str) -> None:
    rows = []
    for n in range(ROWS):
        at = datetime.fromtimestamp(T + 86_400 * n, UTC).strftime(form)  # into the next year
        rows.append(f"{at},u{n % 23},i{n % 31},{n % 2}")
    path = written(tmp_path, "a.csv", ["time_stamp,user,item,clicked", *rows])
    with pytest.raises(InvalidValueError, match=r"has months and days without a year, .* --origin 2024-01-01"):
        propose([path], Said())
    _, found = tried(tmp_path, [path], Said(origin="2020-09-01"))
    assert (found.labels, found.late) == (ROWS, 0)
