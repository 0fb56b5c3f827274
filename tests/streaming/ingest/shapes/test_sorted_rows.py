"""Rows that stand in another order than they belong together, within a bound of memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recsys.errors import InvalidValueError
from streaming.events.schema import Impression, Interaction
from streaming.ingest.counts import Counts
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.log.memory_log import MemoryLog
from tests.streaming.ingest.shapes.tables import Found
from tests.streaming.ingest.test_pipeline import stored
from tests.streaming.strategies import NOW

MEMORY = 1 << 14
SHOWN = {"id": "r", "time": "t", "user": "u", "item": "i", "actions.click": "y"}
FEEDBACK = {"time": "t", "user": "u", "item": "i"}


def ingested(path: Path, rows: list[str], mapping: Mapping) -> Found:
    path.write_text("\n".join(rows) + "\n")
    log, letters = MemoryLog(), DeadLetters(path.with_suffix(".dead"))
    ingest = Ingest(log, letters, clock=lambda: NOW, slack=0)
    counts = ingest.sort([open_source(path, mapping, sort_memory=MEMORY)], MEMORY)
    assert ingest.late_events.count == 0
    events = stored(log)
    lists = [one for one in events if isinstance(one, Impression)]
    done = [one for one in events if isinstance(one, Interaction)]
    return Found(counts, lists, done, [(entry["line"], entry["reason"]) for entry in letters.read()])


def test_rows_of_a_list_that_stand_apart(tmp_path: Path, spills: list[int]) -> None:
    rows = [f"r{n},{n},u{n},{item},{int(item == 'b')}" for n in range(400) for item in "abc"]
    random.Random(2).shuffle(rows)
    rows.insert(5, "r7,soon,u7,d,1")
    found = ingested(tmp_path / "a.csv", ["r,t,u,i,y", *rows], Mapping("shown", SHOWN, apart=True))
    assert all(spills)
    assert [one.id for one in found.lists] == [f"r{n}" for n in range(400)]
    assert all(sorted(one.items) == ["a", "b", "c"] for one in found.lists)
    assert sorted(one.impression for one in found.done) == sorted(f"r{n}" for n in range(400))
    assert [line for line, _ in found.dead] == [7]
    assert found.counts == Counts(800, 0, 1)


def test_feedback_sorted_by_user_finds_partners_in_time(tmp_path: Path, spills: list[int]) -> None:
    rows = [f"{1000 * n},u{n % 40:02},i{n}" for n in range(2_000)]
    rows.sort(key=lambda row: row.split(",")[1])
    mapping = Mapping("feedback", FEEDBACK, negatives_within=1_000)
    found = ingested(tmp_path / "a.csv", ["t,u,i", *rows], mapping)
    assert all(spills)
    assert len(found.lists) > 900
    for one in found.lists:
        first, second = (int(item[1:]) for item in one.items)
        assert abs(first - second) == 1


def test_rows_apart_need_sorting_and_an_id(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("r,t,u,i,y\n")
    with pytest.raises(InvalidValueError, match="ingest with --sort"):
        open_source(tmp_path / "a.csv", Mapping("shown", SHOWN, apart=True))
    with pytest.raises(InvalidValueError, match="apart: this is for rows of kind 'shown'"):
        Mapping("feedback", FEEDBACK, apart=True)
