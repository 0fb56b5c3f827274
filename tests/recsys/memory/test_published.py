"""The published study: what the page says is in its files."""

from pathlib import Path

import pytest

from recsys.memory.report import markdown
from recsys.memory.result import Result
from recsys.memory.setting import UNBOUNDED

DOCS = Path(__file__).resolve().parents[3] / "docs"
FOLDER = DOCS / "results" / "globo_memory"
PAGE = DOCS / "choosing_memory.md"
ROW = 4 * (16 + 1) + 8
ID = 23.2
"""Bytes of a row of 16 weights with one state, and of an id in a full table."""


@pytest.fixture(scope="module")
def result() -> Result:
    return Result.from_json((FOLDER / "result.json").read_bytes())


def test_the_table_and_the_page_are_those_of_the_result(result: Result) -> None:
    assert (FOLDER / "table.md").read_text() == markdown(result)
    assert markdown(result) in PAGE.read_text()


def test_a_full_table_takes_the_bytes_that_the_page_computes(result: Result) -> None:
    for name in ("user.capacity=1/2", "user.capacity=1/8", "user.capacity=1/32"):
        user = result.point(name).runs[0].tables["user"]
        assert user["bytes"] / user["live"] == pytest.approx(ROW + ID, rel=0.03)


def test_counters_of_every_run_add_up(result: Result) -> None:
    assert result.points[0].name == UNBOUNDED
    for found in result.points:
        for run in found.runs:
            assert run.bytes == run.total("bytes") <= run.most_bytes
            assert run.total("live") == run.total("admitted") - run.total("expired") - run.total("evicted")
            for name, counters in run.tables.items():
                assert counters["live"] <= found.settings[name]["capacity"]
