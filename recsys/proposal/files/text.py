"""Delimited text that nobody has described: its delimiter, quotes and header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import is_number
from recsys.proposal.columns.time_columns import time_reading
from recsys.proposal.columns.vocabulary import known
from recsys.proposal.files.no_table import SERVER_LOG, TRIED, cells_of, is_server_log, no_table, odd_line
from recsys.proposal.files.text_encoding import Decoded
from streaming.ingest.formats.dialect import Dialect, RowReader
from streaming.ingest.formats.open_source import Format, dialect
from streaming.ingest.mapping import values
from streaming.ingest.mapping.column_mapping import NULLS

_DELIMITERS: Final = ("::", "\t", ",", ";", "|", "\x01", " ")
_TYPED: Final = re.compile(r".+:(token|float|token_seq|float_seq)")
"""Names in the header of RecBole's files."""
_HEADER: Final = 100
"""Cells of the first row that are looked at for numbers and times."""
_GOOD: Final = 0.9
"""Share of the rows that have to have as many cells as the first."""


@dataclass(frozen=True)
class SampledTable:
    """Cells by column, the settings that a mapping needs to read them, and what was noticed."""

    columns: Mapping[str, Sequence[str]]
    rows: int
    settings: Mapping[str, Any]
    notes: Sequence[str]


def table(path: Path, found: Decoded, suffix: str, most: int) -> SampledTable:
    """The columns of delimited text. Raises InvalidValueError if no delimiter makes rows of it."""
    lines = _lines(found.text)
    base: Format = "tsv" if suffix in (".tsv", ".tab", ".inter", ".user", ".item") else "csv"
    comment = _comment(lines)
    body = [line for line in lines if line.strip() and not (comment and line.startswith(comment))]
    chosen, width = _recognised(path, lines, body, base)
    reader = RowReader(replace(chosen, comment=comment), width, lambda _: True)
    read, _ = reader.rows(lines[: most + 1 + len(lines) - len(body)], more=False)
    header, names, rows, notes = _named(path, [list(row.cells) for row in read if not row.fault], chosen, width)
    settings: dict[str, Any] = {} if suffix in (".csv", ".tsv") else {"format": base}
    if header is True and all(_TYPED.fullmatch(name) for name in names):
        names = [name.rpartition(":")[0] for name in names]
        settings = {} if suffix == ".inter" else {"format": "recbole"}
        base = "recbole"
    settings |= _differences(chosen, dialect(base, {}))
    settings |= {"comment": comment} if comment else {}
    settings |= {} if header is True else {"header": header}
    settings |= {"encoding": found.encoding} if found.encoding != "utf-8" else {}
    columns, decimal = _with_points({name: [row[n] for row in rows[:most]] for n, name in enumerate(names)}, chosen)
    return SampledTable(columns, min(len(rows), most), settings | decimal, notes)


def _lines(text: str) -> list[str]:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if not lines[-1] else lines


def _recognised(path: Path, lines: Sequence[str], body: Sequence[str], base: Format) -> tuple[Dialect, int]:
    """The dialect of the lines `body`, and how many cells a row has. Raises InvalidValueError if it is no table."""
    if is_server_log(body[:_HEADER]):
        raise InvalidValueError(f"{path} {SERVER_LOG}")
    chosen, width = _dialect(body[:TRIED], base)
    chosen = _spaced(body[:TRIED], chosen)
    if width < 2:
        raise InvalidValueError(f"{path} {no_table(body, chosen)}{odd_line(lines, body, chosen)}")
    return chosen, width


def _named(
    path: Path, rows: list[list[str]], chosen: Dialect, width: int
) -> tuple[bool | list[str], list[str], list[list[str]], list[str]]:
    """The setting `header`, the names of the columns, the rows without them, and what was noticed."""
    header, notes = _header(rows, chosen)
    if header is not True:
        return header, list(header) if header else [str(n + 1) for n in range(width)], rows, notes
    names, *rows = rows
    if names:
        _check_names(path, names)
    if names and (again := rows.count(names)):
        rows = [row for row in rows if row != names]
        notes = [*notes, f"The header comes again in {again} of the first rows, which would be refused."]
    return header, names, rows, notes


def _with_points(columns: dict[str, list[str]], chosen: Dialect) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The columns, numbers with a decimal point, and the setting that says so of a file that writes commas."""
    written = {name: cells for name, cells in columns.items() if _commas(cells)} if chosen.delimiter != "," else {}
    with_points = {name: [values.with_point(cell) for cell in cells] for name, cells in written.items()}
    return columns | with_points, {"decimal": ","} if written else {}


def _comment(lines: Sequence[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    return "#" if first.startswith("#") else ""


def _dialect(lines: Sequence[str], base: Format) -> tuple[Dialect, int]:
    """The dialect that reads most of the lines, and the number of cells in a row; the format's own where it is good."""
    default = dialect(base, {})
    ranked: list[tuple[float, int, Dialect, int]] = []
    for delimiter in dict.fromkeys((default.delimiter, *_DELIMITERS)):
        for quote, escape in (('"', ""), ("", ""), ('"', "\\"), ("'", "")) if len(delimiter) == 1 else (("", ""),):
            one = Dialect(delimiter, quote, escape)
            share, width = _fit(lines, one)
            if width > 1 and share >= _GOOD:
                usual = (one.delimiter == default.delimiter) + (one.quote == default.quote) / 2
                ranked.append((round(share, 2) - (delimiter == " "), -len(ranked), one, width))
                if usual == 1.5 and share > 0.999 and not _wrapped(lines, one):
                    return one, width
    if not ranked:
        return default, 1
    for _, _, one, width in ranked:
        if one.quote == "'" and _wrapped(lines, one):
            return one, width
    best = max(ranked, key=lambda rank: (rank[0], rank[1]))
    return best[2], best[3]


def _spaced(lines: Sequence[str], chosen: Dialect) -> Dialect:
    """With the space that follows each delimiter as a part of it, so that ids do not begin with one."""
    apart = chosen.delimiter + " "
    always = all(line.count(chosen.delimiter) == line.count(apart) > 0 for line in lines)
    quoted = any(quote in line for quote in {'"', chosen.quote} - {""} for line in lines)
    return Dialect(apart, "", "") if always and not quoted and chosen.delimiter.strip() else chosen


def _fit(lines: Sequence[str], dialect: Dialect) -> tuple[float, int]:
    """The share of the lines that are rows of as many cells as the first, and that number."""
    width = len(cells_of(lines[0], dialect)) if lines else 0
    if width < 2:
        return 0.0, width
    rows, _ = RowReader(dialect, width, lambda _: True).rows(lines, more=False)
    covered = sum(row.end - row.begin for row in rows if not row.fault and not _stray(row.cells, dialect))
    return covered / len(lines), width


def _stray(cells: Sequence[str], dialect: Dialect) -> bool:
    """Whether quotes or escapes are left in cells that another dialect would take away."""
    if dialect.quote and len(cells) > 1:
        return False
    return any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)


def _wrapped(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether single quotes stand around the cells of all rows but the header."""
    rows = [line.split(dialect.delimiter) for line in lines[1:]]
    return bool(rows) and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for row in rows for cell in row)


def _commas(cells: Sequence[str]) -> bool:
    """Whether a column has numbers with decimal commas, rather than lists: as many digits behind each, or many."""
    there = [cell for cell in cells if cell not in NULLS]
    if not there or not all(is_number(str(values.with_point(cell))) for cell in there):
        return False
    behind = {len(values.with_point(cell).partition(".")[2]) for cell in there if "," in cell}
    return len(behind) == 1 or max(behind, default=0) > 2


def _differences(one: Dialect, other: Dialect) -> dict[str, Any]:
    names = ("delimiter", "quote", "escape")
    found = {name: getattr(one, name) for name in names if getattr(one, name) != getattr(other, name)}
    if len(one.delimiter) > 1:
        found.pop("quote", None)  # which is empty by itself
    return found


def _header(rows: Sequence[Sequence[str]], _: Dialect) -> tuple[bool | list[str], list[str]]:
    """Whether the first row names the columns."""
    if not rows:
        return True, []
    first, rest = rows[0], rows[1:200]
    if any(is_number(cell) or time_reading([cell]) is not None for cell in first[:_HEADER]):
        return False, ["The first row has numbers or times, so that there is no header: columns are numbered from 1."]
    numeric = any(rest and sum(is_number(row[n]) for row in rest) > len(rest) / 2 for n in range(len(first)))
    if numeric or not rest:
        return True, []
    seen = [{row[n] for row in rest if row != first} for n in range(len(first))]  # a header may come again, whole
    again = [cell for cell, values in zip(first, seen, strict=True) if cell.strip() and cell in values]
    if len(again) > len(set(again)) or (again and not any(known(cell) for cell in {*first} - {*again})):
        return False, ["The first row has values of other rows, so that there is no header."]
    return True, []


def _check_names(path: Path, names: Sequence[str]) -> None:
    for name, count in Counter(names).items():
        if name.strip() and count > 1:
            raise InvalidValueError(
                f"{path} has {count} columns {name!r}, and nobody can tell which one is meant; "
                "give them different names"
            )
