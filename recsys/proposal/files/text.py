"""Delimited text that nobody has described: its delimiter, quotes and header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import is_number
from recsys.proposal.columns.time_columns import time_reading
from recsys.proposal.columns.vocabulary import known
from recsys.proposal.files.text_encoding import Decoded
from streaming.ingest.formats.dialect import Dialect, RowReader, csv_format
from streaming.ingest.formats.open_source import Format, dialect
from streaming.ingest.mapping import values
from streaming.ingest.mapping.column_mapping import NULLS

_DELIMITERS: Final = ("::", "\t", ",", ";", "|", "\x01", " ")
_TYPED: Final = re.compile(r".+:(token|float|token_seq|float_seq)")
"""Names in the header of RecBole's files."""
_TRIED: Final = 500
"""Lines by which delimiters and quotes are compared."""
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
    lines = [line.removesuffix("\r") for line in found.text.split("\n")]
    lines = lines[:-1] if not lines[-1] else lines
    base: Format = "tsv" if suffix in (".tsv", ".tab", ".inter", ".user", ".item") else "csv"
    comment = _comment(lines)
    body = [line for line in lines if line.strip() and not (comment and line.startswith(comment))]
    if body and all(map(_ACCESS.match, body[:_HEADER])):
        raise InvalidValueError(f"{path} {_SERVER}")
    chosen, width = _dialect(body[:_TRIED], base)
    chosen = _spaced(body[:_TRIED], chosen)
    if width < 2:
        raise InvalidValueError(f"{path} {_no_table(body, chosen)}{_odd_line(lines, body, chosen)}")
    reader = RowReader(replace(chosen, comment=comment), width, lambda _: True)
    read, _ = reader.rows(lines[: most + 1 + len(lines) - len(body)], more=False)
    rows = [list(row.cells) for row in read if not row.fault]
    header, notes = _header(rows, chosen)
    names = rows.pop(0) if header is True else [str(n + 1) for n in range(width)] if not header else list(header)
    if names and header is True:
        _check_names(path, names)
        again = rows.count(names)
        rows = [row for row in rows if row != names] if again else rows
        notes += [f"The header comes again in {again} of the first rows, which would be refused."] if again else []
    settings: dict[str, Any] = {} if suffix in (".csv", ".tsv") else {"format": base}
    if header is True and all(_TYPED.fullmatch(name) for name in names):
        names = [name.rpartition(":")[0] for name in names]
        settings = {} if suffix == ".inter" else {"format": "recbole"}
        base = "recbole"
    settings |= _differences(chosen, dialect(base, {}))
    settings |= {"comment": comment} if comment else {}
    settings |= {} if header is True else {"header": header}
    settings |= {"encoding": found.encoding} if found.encoding != "utf-8" else {}
    columns = {name: [row[n] for row in rows[:most]] for n, name in enumerate(names)}
    if chosen.delimiter != "," and (written := {name: cells for name, cells in columns.items() if _commas(cells)}):
        columns |= {name: [values.with_point(cell) for cell in cells] for name, cells in written.items()}
        settings |= {"decimal": ","}
    return SampledTable(columns, min(len(rows), most), settings, notes)


_ADJACENT: Final = (
    "has lines of different length, such as a user and then items: only a script can write one item a line, such as "
    "awk '{ for (i = 2; i <= NF; i++) print $1 \",\" $i }'"
)
_ACCESS: Final = re.compile(r'\S+ \S+ \S+ \[\d+/\w+/\d{4}:[^]]+\] "')
_SERVER: Final = (
    "is the log of a web server, which has the item in the address of a page: only a script can make a table of it, "
    'such as awk \'{ print $1 "," substr($4, 2) " " substr($5, 1, 5) "," $7 }\' (visitor, time, page)'
)
_BLOCKS: Final = (
    "has lines such as '1:' before the rows of each item: only a script can write the item into each row, such as "
    'awk -F, \'NF == 1 { sub(":", ""); item = $0; next } { print item "," $0 }\''
)


def _no_table(lines: Sequence[str], default: Dialect) -> str:
    widths = {len(line.split()) for line in lines[:_TRIED]}
    if len(widths) > 2 and min(widths) > 0 and all(re.fullmatch(r"[\d\s]+", line) for line in lines[:_TRIED]):
        return _ADJACENT
    if re.fullmatch(r"\S+:", lines[0]) and all("," in line for line in lines[1:3]):
        return _BLOCKS
    width = len(_cells(lines[0], default))
    other, count = (
        Counter(len(_cells(line, default)) for line in lines[1:_TRIED]).most_common(1)[0] if lines[1:] else (0, 0)
    )
    if 1 < width != other > 1 and count > len(lines[:_TRIED]) / 2:
        return f"has {width} names in its header and {other} cells in most rows; let the header name all of them"
    return (
        f"is no table that can be recognised: its first line is {lines[0][:60]!r}; give CSV, TSV, JSON lines or Parquet"
    )


def _odd_line(lines: Sequence[str], body: Sequence[str], default: Dialect) -> str:
    """Which line is the first with another number of cells than the first one; empty if that has one cell."""
    width = len(_cells(body[0], default))
    whole = takewhile(lambda line: not line.count('"') % 2, body)  # in others a cell may go on in the next line
    odd = next((line for line in whole if len(_cells(line, default)) != width), None)
    if width < 2 or odd is None:
        return ""
    cells = len(_cells(odd, default))
    return (
        f"; by {default.delimiter!r} line {lines.index(odd) + 1} is the first with another number of cells, {cells} in "
        f"place of {width}: put cells with {default.delimiter!r} in quotes, or let every line have as many"
    )


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
    width = len(_cells(lines[0], dialect)) if lines else 0
    if width < 2:
        return 0.0, width
    rows, _ = RowReader(dialect, width, lambda _: True).rows(lines, more=False)
    covered = sum(row.end - row.begin for row in rows if not row.fault and not _stray(row.cells, dialect))
    return covered / len(lines), width


def _cells(line: str, dialect: Dialect) -> Sequence[str]:
    if len(dialect.delimiter) > 1:
        return line.split(dialect.delimiter)
    try:
        return next(csv.reader([line], **csv_format(dialect)), [])
    except csv.Error:
        return []


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
