"""Delimited text in its dialects: one event or one dead letter per row, and a stray quote costs its own row only."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import IngestError, InvalidValueError
from streaming.ingest.counts import Counts
from streaming.ingest.formats import sources
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.source_offsets import SourceOffsets
from streaming.log.memory_log import MemoryLog
from tests.streaming.ingest.test_pipeline import stored
from tests.streaming.strategies import NOW

PLAY = Mapping("impression", {"id": "id", "time": "at", "user": "who", "items": "what"}, time_unit="s")
HEADER = ["id", "at", "who", "what", "title"]


def rows(count: int) -> list[list[str]]:
    return [[f"r{i}", str(1_600_000_000 + i), f"u{i}", f"a{i}|b{i}", f"t{i}"] for i in range(count)]


class World:
    """Files in a folder, and what became of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = MemoryLog()

    def ingest(self, name: str, content: bytes | str, mapping: Mapping = PLAY, **settings: Any) -> Counts:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        ingest = Ingest(self.log, DeadLetters(self.folder / "dead"), window=10_000, clock=lambda: NOW)
        return ingest.run(open_source(path, mapping, text=settings))

    @property
    def dead(self) -> list[tuple[int, str]]:
        return [(entry["line"], entry["raw"]) for entry in DeadLetters(self.folder / "dead").read()]

    @property
    def events(self) -> list[tuple[str, str, list[str]]]:
        return [(e.id, e.user, e.items) for e in stored(self.log)]  # type: ignore[union-attr]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def text(table: list[list[str]], delimiter: str = ",", header: list[str] | None = HEADER) -> str:
    return "".join(delimiter.join(row) + "\n" for row in ([header] if header else []) + table)


def expected(table: list[list[str]]) -> list[tuple[str, str, list[str]]]:
    return [(row[0], row[2], row[3].split("|")) for row in table]


def test_quotes_mean_nothing_in_tsv(world: World) -> None:
    table = rows(300)
    table[1][2], table[5][4], table[9][2] = '"weird al" yankovic', '"open', 'open"'
    assert world.ingest("plays.tsv", text(table, "\t")) == Counts(300)
    assert world.events == expected(table)


@pytest.mark.slow
@pytest.mark.parametrize("read", [300, 1 << 20])
@pytest.mark.parametrize("stray", ['"t', '"t, more"x', '"t" or not'])
def test_a_stray_quote_costs_its_own_row(world: World, stray: str, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", read)
    table = rows(2000)
    for i in (3, 4, 1000, 1999):
        table[i][4] = stray
    table[50][4] = '"two\nlines, ""quoted"""'
    counts = world.ingest("a.csv", text(table))
    assert counts == Counts(accepted=1996, dead=4)
    assert world.dead == [(line, ",".join(table[i])) for i, line in ((3, 5), (4, 6), (1000, 1003), (1999, 2002))]
    assert world.events == expected([row for i, row in enumerate(table) if i not in (3, 4, 1000, 1999)])


def test_two_stray_quotes_do_not_swallow_the_rows_between_them(world: World) -> None:
    table = rows(40)
    table[5][4], table[9][4] = '"weird', 'al"'
    assert world.ingest("a.csv", text(table)) == Counts(accepted=39, dead=1)
    assert world.dead == [(7, ",".join(table[5]))]


def test_a_cell_of_several_lines_may_be_the_first_or_hold_something_like_a_row(world: World) -> None:
    table = [['"r\n0"', "1600000000", "u", "a", "t"], ["r1", "1600000001", "u", "a", '"a,b,c,d,e\nf,g,h,i,j"']]
    assert world.ingest("a.csv", text(table)) == Counts(2)
    assert world.events == [("r\n0", "u", ["a"]), ("r1", "u", ["a"])]


@given(
    st.lists(st.lists(st.text(st.sampled_from('ab",;\n\r\\#| é'), max_size=6), min_size=2, max_size=2), max_size=12),
    st.integers(1, 60),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_the_csv_module_writes_is_read_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], read: int, delimiter: str
) -> None:
    file = io.StringIO()
    # The module does not quote a lone carriage return within a line of other ends: everything is quoted.
    csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        [["at", "user", "x", "y"], *([str(i), "u", *row] for i, row in enumerate(table))]
    )
    path = tmp_path_factory.mktemp("x") / "a.csv"
    path.write_bytes(file.getvalue().encode())
    mapping = Mapping("user", {"time": "at", "user": "user", "features.x": "x", "features.y": "y"}, null_values=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_BYTES", read)
        blocks = list(open_source(path, mapping, text={"delimiter": delimiter}).blocks(sources.BEGIN))
    found = [json.loads(line)["features"] for block in blocks for line in getattr(block, "lines", ())]
    assert found == [{"x": x, "y": y} for x, y in table]


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (lambda t: text(t, ";"), {"delimiter": ";"}),
        (lambda t: text(t, "::"), {"delimiter": "::"}),
        (lambda t: text(t, header=None), {"header": tuple(HEADER)}),
        (lambda t: text(t, header=None), {"header": False}),
        (lambda t: "\n# exported\n" + text(t).replace("\n", '\n# "\n'), {"comment": "#"}),
        (lambda t: text(t).encode("utf-16"), {"encoding": "utf-16"}),
        (lambda t: text(t).encode("latin-1"), {"encoding": "latin-1"}),
        (lambda t: b"\xef\xbb\xbf" + text(t).replace("\n", "\r\n").encode(), {}),
        (lambda t: text([[f"'{cell}'" for cell in row] for row in t]), {"quote": "'"}),
        (lambda t: text([[*row[:4], r'"say \"hi\", ok"'] for row in t]), {"escape": "\\"}),
        (lambda t: text([[*row[:4], '"t'] for row in t]), {"quote": ""}),
    ],
)
def test_dialects(world: World, content: Callable[[list[list[str]]], bytes | str], settings: dict[str, Any]) -> None:
    table = rows(30)
    table[7][2] = "andré"
    mapping = PLAY
    if settings.get("header") is False:
        mapping = Mapping("impression", {"id": "1", "time": "2", "user": "3", "items": "4"}, time_unit="s")
    assert world.ingest("a.csv", content(table), mapping, **settings) == Counts(30)
    assert world.events == expected(table)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,at,who,what,who\n", "has 2 columns 'who'"),
        ('id,at,who,what,"title\nr1,1,u,a,t\n', "line 1: the header has a stray or unclosed quote"),
        ("id,at,who,what\rr1,1,u,a\r", "line 1: lines end with a carriage return alone"),
        ("id,at,who,what\nr1,1,u,a\n".encode("utf-16"), 'the file is UTF-16; write encoding = "utf-16"'),
    ],
)
def test_headers_that_cannot_be_used_are_refused_with_the_file(world: World, content: bytes | str, reason: str) -> None:
    with pytest.raises(InvalidValueError, match=r"a\.csv.*" + reason):
        world.ingest("a.csv", content)


@pytest.mark.parametrize(
    "settings",
    [
        {"delimiter": ""},
        {"delimiter": "::", "quote": '"'},
        {"quote": "ab"},
        {"quote": ","},
        {"escape": "\n"},
        {"encoding": "klingon"},
    ],
)
def test_settings_that_mean_nothing_are_refused(world: World, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(settings))):
        world.ingest("a.csv", text(rows(1)), **settings)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "GZ": lambda data: gzip.compress(data[:90]) + gzip.compress(data[90:]),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "Xz": lambda data: lzma.compress(data[:90]) + lzma.compress(data[90:]),
    "zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
}


@pytest.mark.parametrize("suffix", PACK)
def test_compressed_files_are_read_and_truncated_ones_named(world: World, suffix: str) -> None:
    table = rows(100)
    packed = PACK[suffix](text(table).encode())
    assert world.ingest(f"a.CSV.{suffix}", packed) == Counts(100)
    with pytest.raises(IngestError, match=rf"b\.csv\.{suffix}, from line 1 on: Truncated"):
        world.ingest(f"b.csv.{suffix}", packed[:-10])


def test_a_refused_event_is_shown_as_its_row(world: World) -> None:
    assert world.ingest("a.csv", text([["r0", "1600000000", "", "a", "t"]])) == Counts(dead=1)
    assert world.dead == [(2, "r0,1600000000,,a,t")]


def test_a_long_list_fits_into_one_cell(world: World) -> None:
    items = "|".join(f"item-number-{i:09}" for i in range(9000))
    assert world.ingest("a.csv", text([["r0", "1600000000", '"u"', items, "t"]])) == Counts(1)


def test_another_mapping_of_a_file_that_was_read_reads_it_anew(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text([["r0", "2020-09-13", "u", "a", "t"]]))
    log, offsets = MemoryLog(), SourceOffsets(tmp_path / "offsets")
    for mapping, counts in ((PLAY, Counts(dead=1)), (Mapping("impression", PLAY.columns, "iso"), Counts(1))):
        ingest = Ingest(log, DeadLetters(tmp_path / "dead"), window=10_000, clock=lambda: NOW, source_offsets=offsets)
        assert ingest.run(open_source(tmp_path / "a.csv", mapping)) == counts


@pytest.mark.parametrize("name", ["a.dat", "a", "a.xlsx", "a.csv.rar"])
def test_a_suffix_that_says_nothing_is_refused_unless_the_format_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(text(rows(3)))
    with pytest.raises(InvalidValueError, match=r"is not supported: \.jsonl .*write format = \"csv\""):
        open_source(tmp_path / name, PLAY)
    log = MemoryLog()
    ingest = Ingest(log, DeadLetters(tmp_path / "dead"), window=10_000, clock=lambda: NOW)
    assert ingest.run(open_source(tmp_path / name, PLAY, format="csv")) == Counts(3)


def test_numbers_with_decimal_commas_are_read_if_the_mapping_says_so(world: World) -> None:
    columns = {"time": "at", "item": "item", "features.price": "price"}
    mapping = Mapping("item", columns, kinds={"price": "numeric"}, decimal=",")
    content = "at;item;price\n1;a;1.234,50\n2;b;0,5 €\n3;c;7\n4;d;-€5,00\n5;e;1'234,5\n"
    assert world.ingest("a.csv", content, mapping, delimiter=";") == Counts(5)
    assert [event.features["price"] for event in stored(world.log)] == [1234.5, 0.5, 7, -5, 1234.5]  # type: ignore[union-attr]
