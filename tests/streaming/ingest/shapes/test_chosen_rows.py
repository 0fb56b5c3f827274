"""Rows of several kinds in one file: each mapping takes its own, by a word in a column."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.errors import InvalidValueError
from streaming.ingest.counts import Counts
from streaming.ingest.mapping.column_mapping import Mapping
from tests.streaming.ingest.shapes.tables import ingested

CONTENT = "what,r,t,u,i\nshow,r1,5,u,a|b\ntap,r1,6,,b\nnoise,,,,\nshow,r2,seven,u,a\nhold,r1,7,,a\nshow,r3,8\n"


def test_rows_of_another_kind_are_not_read_and_faults_keep_their_lines(tmp_path: Path) -> None:
    columns = {"id": "r", "time": "t", "user": "u", "items": "i"}
    found = ingested(tmp_path / "a.csv", CONTENT, Mapping("impression", columns, where={"what": ["show"]}))
    assert [one.id for one in found.lists] == ["r1"]
    assert [line for line, _ in found.dead] == [5, 7]
    assert found.counts == Counts(1, 0, 2)


def test_one_of_several_words_is_enough(tmp_path: Path) -> None:
    columns = {"impression": "r", "time": "t", "item": "i", "action": "what"}
    mapping = Mapping("interaction", columns, where={"what": ["tap", "hold"]})
    assert ingested(tmp_path / "a.csv", CONTENT, mapping).clicks == [("r1", "b", "tap"), ("r1", "a", "hold")]


def test_numbers_and_truths_are_told_as_text(tmp_path: Path) -> None:
    content = '{"k":1,"ok":true,"t":5,"u":"a","i":"x"}\n{"k":1.0,"ok":false,"t":5,"u":"a","i":"x"}\n{"k":[1],"t":5}\n'
    mapping = Mapping(
        "shown", {"time": "t", "user": "u", "item": "i", "actions.click": "ok"}, where={"k": ["1"], "ok": ["true"]}
    )
    assert len(ingested(tmp_path / "a.jsonl", content, mapping).lists) == 1


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    mapping = Mapping("interaction", {"impression": "r", "time": "t", "item": "i"}, where={"kind": ["tap"]})
    with pytest.raises(InvalidValueError, match="no column 'kind' \\(mapped to 'where'\\)"):
        ingested(tmp_path / "a.csv", CONTENT, mapping)
