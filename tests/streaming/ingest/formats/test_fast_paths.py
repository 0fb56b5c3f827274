"""Blocks that are read as one give what their lines, read one by one, would give, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.ingest.formats import sources
from streaming.ingest.formats.delimited import DelimitedRows
from streaming.ingest.formats.dialect import Dialect, RowReader
from streaming.ingest.formats.sources import Position
from streaming.ingest.mapping.column_mapping import Mapping

Found = list[tuple[list[Any], str, Position, bytes, Position, Position, bool]]
Open = Callable[[], DelimitedRows]

BODY = Mapping("user", {"time": "at", "user": "user", "features.x": "x"}, null_values=())
PLAIN = st.text(st.sampled_from("a1é "), max_size=3)
QUOTED = st.text(st.sampled_from("a1\",;\n\r\\#'"), max_size=4).map(lambda text: '"' + text.replace('"', '""') + '"')
ODD_CELLS = st.sampled_from(['"', "'", "\\", '\\"', "a,b", "'a,b'", 'a"b', '"a"b', "\r", "a\\,b"])
LINES = st.tuples(
    st.sampled_from(["", "", "", "#"]),
    st.lists(PLAIN | PLAIN | QUOTED | QUOTED | ODD_CELLS, min_size=3, max_size=3),
    st.sampled_from(["", "", "", "\r", ",", "\n"]),
)
DIALECTS = [
    Dialect(),
    Dialect(quote=""),
    Dialect(quote="'"),
    Dialect(escape="\\"),
    Dialect(comment="#"),
    Dialect("\t"),
    Dialect("::", quote=""),
    Dialect(header=("at", "user", "x")),
]


def found(table: DelimitedRows) -> Found:
    """Cells or fault of each row, where it stands and how it is written, with begin and end of its block."""
    return [
        (
            list(cells),
            rows.faults.get(i, ""),
            rows.position(i),
            rows.raw(i),
            rows.start,
            rows.end,
            rows.ended,
        )
        for rows in table.rows(sources.BEGIN)
        for i, cells in enumerate(rows.cells)
    ]


def found_both_ways(opened: Open, read: int, reader: type, method: str) -> tuple[Found, Found, set[bool]]:
    """As it is, and line by line; and whether blocks were read as one."""
    simple, seen = getattr(reader, method), set[bool]()

    def watched(*args: Any) -> Any:
        cells = simple(*args)
        seen.add(cells is not None)
        return cells

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_BYTES", read)
        patch.setattr(reader, method, watched)
        fast = found(opened())
        patch.setattr(reader, method, lambda *_: None)
        return fast, found(opened()), seen


@pytest.mark.slow
def test_text_whose_rows_are_lines(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.csv", set[tuple[bool, bool]]()

    @given(
        st.lists(LINES, max_size=6),
        st.sampled_from(DIALECTS),
        st.integers(1, 80) | st.just(1 << 20),
        st.sampled_from([1 << 20, 15]),
    )
    @example([("#", ["1", "a", "b"], "")], Dialect(comment="#"), 80, 1 << 20)
    @example([("", ["1", "a\\b", "c"], "")], Dialect(escape="\\"), 80, 1 << 20)
    @example([("", ["1", '"\\""', '"c"'], "")], Dialect(escape="\\"), 80, 1 << 20)
    def check(lines: list[Any], dialect: Dialect, read: int, longest: int) -> None:
        head = [dialect.delimiter.join(("at", "user", "x"))] if dialect.header is True else []
        body = [begin + dialect.delimiter.join(cells) + end for begin, cells, end in lines]
        path.write_bytes("\n".join([*head, *body]).encode())
        opened = partial(DelimitedRows, path, BODY, dialect, longest)
        try:
            opened()
        except ValueError:  # a first line that gives no columns
            return
        fast, slow, simple = found_both_ways(opened, read, RowReader, "simple")
        assert fast == slow
        seen.update((one, any(dialect.quote and dialect.quote in line for line in body)) for one in simple)

    check()
    assert seen == {(one, quotes) for one in (True, False) for quotes in (True, False)}
