"""Interactions read by columns are those that are read row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events.schema import EVENT_SCHEMA
from streaming.ingest.counts import Counts
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.event_time import Unit
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.shapes.block_builder import RowFields
from streaming.ingest.shapes.interaction_columns import InteractionColumns
from streaming.ingest.validation import Rules
from streaming.log.event_log import read_range
from streaming.log.memory_log import MemoryLog
from tests.streaming.strategies import NOW

NAMES = {"time": "at", "impression": "request", "item": "product", "action": "what", "value": "worth", "id": "click"}
Result = tuple[Counts, list[dict[str, Any]], list[str]]


def ingested(path: Path, mapping: Mapping, rules: Rules | None = None) -> Result:
    """Counts, events and dead letters of a file."""
    log, dead = MemoryLog(), path.with_suffix(".dead")
    counts = Ingest(log, DeadLetters(dead), rules, window=10_000, clock=lambda: NOW).run(open_source(path, mapping))
    chunks = [chunk.events for chunk in read_range(log, 0, 0, log.end()[0])]
    letters = dead.read_text().splitlines() if dead.exists() else []
    dead.unlink(missing_ok=True)
    return counts, pa.Table.from_batches(chunks, EVENT_SCHEMA).to_pylist(), letters


def row_by_row(path: Path, mapping: Mapping, rules: Rules | None = None) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InteractionColumns, "events", lambda *_: None)
        return ingested(path, mapping, rules)


def written(folder: Path, rows: list[dict[str, Any]], suffix: str) -> Path:
    path = folder / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [list(rows[0]), *(list(map(str, row.values())) for row in rows)]
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def row(number: int, **other: Any) -> dict[str, Any]:
    plain = {"at": NOW - number, "request": f"r{number}", "product": "ä", "what": "buy", "worth": 1.5, "click": number}
    return plain | other


@pytest.mark.parametrize("suffix", ["tsv", "parquet", "jsonl"])
@pytest.mark.parametrize("left_out", [(), ("id",), ("action", "value")])
def test_plain_rows_are_not_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, left_out: tuple[str, ...]
) -> None:
    path = written(tmp_path, [row(number) for number in range(30)], suffix)
    mapping = Mapping("interaction", {name: column for name, column in NAMES.items() if name not in left_out})
    expected = row_by_row(path, mapping)
    monkeypatch.setattr(RowFields, "events", lambda *_: pytest.fail("read row by row"))
    assert ingested(path, mapping) == expected
    assert expected[0] == Counts(accepted=30)


ODD = st.sampled_from(["", "null", "7.0", "-0", "0x10", " 5", "+5", "1_0", "1e3", "nan", "inf", "٣", "²", "9" * 19])
NUMBERS = st.one_of(st.integers(-5, 2**63 - 1), st.integers(0, 5), st.floats(), st.none(), st.booleans())
CELLS = st.one_of(ODD, NUMBERS, st.text(max_size=3), st.sampled_from(["x" * 512, "x" * 513, "\ud800", "\x00"]))


@pytest.mark.slow
@given(
    st.lists(st.dictionaries(st.sampled_from(list(NAMES.values())), CELLS, max_size=1), min_size=1, max_size=4),
    st.sampled_from(list(NAMES)),
    st.lists(CELLS, min_size=4, max_size=4),
    st.sampled_from(["ms", "s", "us", "ns"]),
    st.sets(st.sampled_from(["id", "action", "value"])),
)
def test_odd_values_are_treated_as_row_by_row(
    tmp_path_factory: pytest.TempPathFactory,
    odd: list[dict[str, Any]],
    column: str,
    cells: list[Any],
    unit: Unit,
    left_out: set[str],
) -> None:
    """JSON has every type of cell: a few odd ones, and a whole column of them."""
    rows = [row(number, **cell) for number, cell in enumerate(odd)]
    folder = tmp_path_factory.mktemp("x")
    mapping = Mapping("interaction", {name: to for name, to in NAMES.items() if name not in left_out}, unit)
    for table in (rows, [one | {NAMES[column]: cell} for one, cell in zip(rows, cells, strict=False)]):
        path = written(folder, table, "jsonl")
        assert ingested(path, mapping) == row_by_row(path, mapping)


@pytest.mark.slow
@given(st.sampled_from(list(NAMES.values())), st.lists(ODD, min_size=1, max_size=2), st.sampled_from(["id", "worth"]))
def test_odd_text_is_treated_as_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, name: str, cells: list[str], left_out: str
) -> None:
    path = written(tmp_path_factory.mktemp("x"), [row(n, **{name: cell}) for n, cell in enumerate(cells)], "tsv")
    mapping = Mapping("interaction", {field: to for field, to in NAMES.items() if field != left_out})
    assert ingested(path, mapping) == row_by_row(path, mapping)


@pytest.mark.parametrize(
    ("other", "rules", "reason"),
    [({"at": NOW + 2}, Rules(max_future=1), "after the clock"), ({}, Rules(max_line=80), "longer than 80 bytes")],
)
def test_a_row_may_break_a_rule(tmp_path: Path, other: dict[str, Any], rules: Rules, reason: str) -> None:
    rows = [row(1), row(2, request="r" * 10, **other), row(3)] if other else [row(1, request="r" * 60)]
    path = written(tmp_path, rows, "tsv")
    found = ingested(path, Mapping("interaction", NAMES), rules)
    assert found == row_by_row(path, Mapping("interaction", NAMES), rules)
    assert found[0].dead == 1
    assert reason in found[2][0]
