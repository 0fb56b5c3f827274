"""Sources give every record once, with its position, in bounded memory, from wherever one left off."""

from __future__ import annotations

import gzip
import io
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import RecsysError
from streaming.ingest.formats import sources
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.formats.sources import Block, JsonLines, Position
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes.mapped_table import MappedTable


def opened(path: Path, mapping: Mapping | None = None, **settings: Any) -> JsonLines | MappedTable:
    source = open_source(path, mapping, **settings)
    assert isinstance(source, JsonLines | MappedTable)
    return source


def records(source: JsonLines | MappedTable, start: Position | None = None) -> list[tuple[Position, bytes | str]]:
    """Lines, or reasons of faults, by position."""
    found: list[tuple[Position, bytes | str]] = []
    end = start or Position()
    for block in source.blocks(end):
        assert isinstance(block, Block)
        assert block.start == end or block.position_of is not None
        for i, line in enumerate(block.lines):
            fault = block.faults.get(i)
            found.append((block.position(i), line if fault is None else fault))
        end = block.end
    return found


@given(st.binary(max_size=300).map(lambda data: data.replace(b"\xef", b"")), st.integers(1, 40), st.integers(1, 30))
def test_lines_have_their_positions_and_long_ones_are_cut(data: bytes, read: int, most: int) -> None:
    expected, byte = [], 0
    for i, line in enumerate(data.split(b"\n")):
        expected.append((Position(i + 1, byte), line[: most + 1]))
        byte += len(line) + 1
    if not data.split(b"\n")[-1]:
        expected.pop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_BYTES", read)
        found = records(JsonLines(io.BytesIO(data), most))
        cut = [(at, line[: most + 1]) for at, line in found if isinstance(line, bytes)]
        assert cut == expected
        for at, line in expected:
            again = records(JsonLines(io.BytesIO(data), most), at)
            assert [(where, text[: most + 1]) for where, text in again][:1] == [(at, line)]
            assert len(again) == len(expected) - at.line + 1


def test_of_a_long_line_only_the_beginning_is_held() -> None:
    data = b"a\n" + b"x" * (10 << 20) + b"\nb\n"
    blocks = list(JsonLines(io.BytesIO(data), max_line=1000).blocks())
    assert max(len(line) for block in blocks for line in block.lines) <= sources.READ_BYTES + 1001
    assert [block.position(i) for block in blocks for i in range(len(block.lines))][-1] == Position(3, len(data) - 2)
    assert blocks[-1].end == Position(4, len(data))


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    found = records(JsonLines(io.BytesIO(b"\xef\xbb\xbf{}\n{}")))
    assert found == [(Position(1, 0), b"{}"), (Position(2, 6), b"{}")]


def test_compressed_files_are_read_by_their_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"1\n2\n"))
    assert [line for _, line in records(opened(path))] == [b"1", b"2"]


CLICK = Mapping("interaction", {"time": "at", "impression": "list", "item": "what", "value": "n"}, time_unit="s")


def test_csv_rows_become_events(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    data = b'at,list,what,n,other\n1.5,r1,"a,\nb",2,x\n\n3,r2,c,\n4,r3,d,oops,x\n5,r4,\xff,,x\n6,r5,e,,x\n'
    path.write_bytes(data)
    source = opened(path, CLICK)
    found = records(source)
    begins = {2: b"1.5,", 5: b"3,r2", 6: b"4,r3", 7: b"5,r4", 8: b"6,r5"}
    assert [at for at, _ in found] == [Position(line, data.index(text)) for line, text in begins.items()]
    events = [json.loads(line) if isinstance(line, bytes) else line for _, line in found]
    assert events == [
        {"type": "interaction", "time": 1500, "impression": "r1", "item": "a,\nb", "value": 2},
        "4 cells for 5 columns",
        {"type": "interaction", "time": 4000, "impression": "r3", "item": "d", "value": "oops"},
        "not UTF-8",
        {"type": "interaction", "time": 6000, "impression": "r5", "item": "e"},
    ]
    for i, (at, _) in enumerate(found):
        assert records(source, at) == found[i:]


@pytest.mark.parametrize(
    ("unit", "text", "reason"),
    [
        ("s", "2017-10-01", "time: '2017-10-01' in column 'at' is not a number of seconds (time_unit = \"s\")"),
        ("ms", "soon", "time: 'soon' in column 'at' is not a number of milliseconds (time_unit = \"ms\")"),
        ("iso", "1507680000", "time: '1507680000' in column 'at' is not ISO 8601 (time_unit = \"iso\")"),
    ],
)
def test_a_cell_that_is_no_time_is_named_with_the_unit(tmp_path: Path, unit: Any, text: str, reason: str) -> None:
    mapping = Mapping("interaction", CLICK.columns, time_unit=unit)
    (tmp_path / "a.csv").write_text(f"at,list,what,n\n{text},r,a,1\n")
    pq.write_table(pa.table({"at": [text], "list": ["r"], "what": ["a"], "n": [1]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        assert [said for _, said in records(opened(tmp_path / name, mapping))] == [reason]


def test_csv_lists_and_features_by_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\tt\tu\tshown\tprice\tage\ttags\tzip\tscore\nr\t2017-10-01\tu\ta;b\t1.5;\t7\tx;y\t0123\t1;0.5\n")
    mapping = Mapping(
        "impression",
        {
            "id": "id", "time": "t", "user": "u", "items": "shown", "item_features.price": "price",
            "features.age": "age", "features.tags": "tags", "features.zip": "zip", "scores": "score",
        },
        time_unit="iso", separator=";", kinds={"age": "numeric", "price": "numeric", "tags": "multi"},
    )  # fmt: skip
    ((_, line),) = records(opened(path, mapping))
    assert isinstance(line, bytes)
    assert json.loads(line) == {
        "type": "impression", "id": "r", "time": 1_506_816_000_000, "user": "u", "items": ["a", "b"],
        "item_features": {"price": [1.5, None]}, "features": {"age": 7, "tags": ["x", "y"], "zip": "0123"},
        "scores": [1, 0.5],
    }  # fmt: skip


def test_too_long_and_unended_csv_rows_are_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("at,list,what,n\n1,r," + "x" * 100 + ',1\n2,r,a,1\n3,r,"' + "y" * 10)
    found = records(opened(path, CLICK, max_line=50))
    assert [text if isinstance(text, str) else "event" for _, text in found] == [
        "longer than 50 bytes",
        "event",
        'a quote (") is not closed; if quotes mean nothing in this file, write quote = "" in its mapping',
    ]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_500_000_000_123, None], pa.int64()),
        pa.array([datetime(2017, 7, 14, 2, 40, 0, 123000, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        pa.array([datetime(2017, 7, 14, 2, 40, 0, 123000), None], pa.timestamp("ms")),
        pa.array(["2017-07-14T04:40:00.123+02:00", None]),
    ],
)
def test_parquet_rows_become_events_whatever_the_type_of_time(tmp_path: Path, times: pa.Array) -> None:
    table = pa.table({"at": times, "list": [7, 8], "what": ["a", None], "n": [float("nan"), 2.0], "x": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    in_iso = pa.types.is_string(times.type)
    mapping = Mapping("interaction", CLICK.columns, time_unit="iso" if in_iso else "ms")
    source = opened(tmp_path / "a.parquet", mapping)
    found = records(source)
    assert [json.loads(line) for _, line in found if isinstance(line, bytes)] == [
        {"type": "interaction", "time": 1_500_000_000_123, "impression": "7", "item": "a"},
        {"type": "interaction", "impression": "8", "value": 2.0},
    ]
    assert [at.line for at, _ in found] == [1, 2]
    assert records(source, Position(2)) == found[1:]


def test_parquet_values_of_other_types(tmp_path: Path) -> None:
    table = pa.table({"t": [date(1970, 1, 2)], "i": [Decimal("1.50")], "f": [[1, 2]], "g": [float("inf")]})
    pq.write_table(table, tmp_path / "a.parquet")
    columns = {"time": "t", "item": "i", "features.list": "f", "features.number": "g"}
    ((_, line),) = records(opened(tmp_path / "a.parquet", Mapping("item", columns)))
    assert isinstance(line, bytes)
    assert json.loads(line) == {
        "type": "item", "time": 86_400_000, "item": "1.50", "features": {"list": [1, 2], "number": None},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tme": "t"}, "no field 'tme'; did you mean 'time'"),
        ({"user": "u"}, "no field 'user'"),
        ({"features.x": "u"}, "no field 'features.x'"),
    ],
)
def test_a_mapping_to_fields_that_are_not_there_is_refused(columns: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mapping("interaction", columns)
    with pytest.raises(ValueError, match="no field 'features'"):
        Mapping("user", {"features": "f"})


def test_files_that_do_not_fit_the_mapping_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,list\n1,2\n")
    with pytest.raises(ValueError, match=r"a\.csv has no column 'what' \(mapped to 'item'\); it has at, list"):
        open_source(tmp_path / "a.csv", CLICK)
    with pytest.raises(ValueError, match=r"is a table: write a \[\[log.mapping\]\]"):
        open_source(tmp_path / "a.csv")
    (tmp_path / "a.inter").write_text("user_id:token\tat:float\n1\t2\n")
    with pytest.raises(ValueError, match=r"from its columns, 'user_id', 'at', to .* `recsys init --from \S+a\.inter`"):
        open_source(tmp_path / "a.inter")
    (tmp_path / "a.svm").write_text("1 3:1\n")
    with pytest.raises(ValueError, match=r"from its columns, 'label', 'qid', 'indices', to"):
        open_source(tmp_path / "a.svm")
    (tmp_path / "b.parquet").write_text("no")
    with pytest.raises(ValueError, match="is not a file of parquet"):
        open_source(tmp_path / "b.parquet", CLICK)
    (tmp_path / "empty.csv").write_text("")
    assert records(opened(tmp_path / "empty.csv", CLICK)) == []  # such as a part without rows


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".orc"])
def test_files_of_columns_give_the_same_events_and_go_on_from_any_row(tmp_path: Path, suffix: str) -> None:
    count = 5000  # more than are read at once
    rows = [{"at": 1000 + i, "list": {"id": f"r{i % 7}"}, "what": f"a{i % 11}", "more": 1} for i in range(count)]
    table, path = pa.Table.from_pylist(rows), tmp_path / f"a{suffix}"
    write: Any = {".parquet": pq.write_table, ".feather": feather.write_feather, ".orc": orc.write_table}[suffix]
    write(table, path)
    mapping = Mapping("interaction", {"time": "at", "impression": "list.id", "item": "what"})
    source = open_source(path, mapping)
    found = [event for block in source.blocks(Position(4500)) for event in _events(block)]
    assert [(one["time"], one["impression"], one["item"]) for one in found] == [
        (1000 + i, f"r{i % 7}", f"a{i % 11}") for i in range(4499, count)
    ]
    with pytest.raises(ValueError, match="has no column 'which'"):
        open_source(path, Mapping("interaction", {"time": "at", "impression": "list.id", "item": "which"}))


def _events(block: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (block if isinstance(block, Block) else block.lines()).lines]


def test_an_archive_of_one_file_is_read_as_that_file(tmp_path: Path) -> None:
    text = "at,list,what\n" + "".join(f"{1000 + i},r,a{i}\n" for i in range(50))
    with ZipFile(tmp_path / "download.ZIP", "w", ZIP_DEFLATED) as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/clicks.csv", text)
        archive.writestr("__MACOSX/folder/._clicks.csv", "x")
    (tmp_path / "clicks.csv").write_text(text)
    columns = {"time": "at", "impression": "list", "item": "what"}
    packed, plain = (
        open_source(tmp_path / name, Mapping("interaction", columns)) for name in ("download.ZIP", "clicks.csv")
    )
    assert [_events(block) for block in packed.blocks(Position())] == [
        _events(block) for block in plain.blocks(Position())
    ]
    with ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", text)
    with pytest.raises(RecsysError, match="a ZIP archive of 2 files, of which one is expected"):
        open_source(tmp_path / "two.csv.zip", Mapping("interaction", columns))
    (tmp_path / "torn.csv.zip").write_bytes((tmp_path / "two.csv.zip").read_bytes()[:100])
    with pytest.raises(RecsysError, match="cannot unpack it"):
        open_source(tmp_path / "torn.csv.zip", Mapping("interaction", columns))


def test_a_pipe_gives_what_it_has() -> None:
    class Pipe(io.RawIOBase):
        parts: list[Any] = [b"1\n2", b"\n3\n"]  # noqa: RUF012

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            part = self.parts.pop(0) if self.parts else b""
            buffer[: len(part)] = part
            return len(part)

    blocks = JsonLines(io.BufferedReader(Pipe()), name="pipe").blocks()
    assert next(blocks).lines == [b"1"]
    assert next(blocks).lines == [b"2", b"3"]


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("at;request;product\n1;r;a\n", 'delimiter = ";"'),
        ("at\trequest\tproduct\n1\tr\ta\n", r'delimiter = "\t"'),
        ("at::request::product\n1::r::a\n", 'delimiter = "::"'),
        ("# of last night\nat,request,product\n1,r,a\n", 'comment = "#"'),
    ],
)
def test_a_file_of_another_dialect_is_refused_with_what_to_write(tmp_path: Path, content: str, written: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    mapping = Mapping("item", {"time": "at", "item": "product"})
    with pytest.raises(ValueError, match=re.escape(f"write {written} in its mapping")):
        open_source(tmp_path / "a.csv", mapping)
    name, _, value = written.partition(" = ")
    assert len(records(opened(tmp_path / "a.csv", mapping, text={name: json.loads(value)}))) == 1
