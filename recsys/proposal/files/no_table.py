"""Why lines of text are no table, and what to do about it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from streaming.ingest.formats.dialect import Dialect, csv_format

TRIED: Final = 500
"""Lines by which delimiters and quotes are compared."""
SERVER_LOG: Final = (
    "is the log of a web server, which has the item in the address of a page: only a script can make a table of it, "
    'such as awk \'{ print $1 "," substr($4, 2) " " substr($5, 1, 5) "," $7 }\' (visitor, time, page)'
)
_ACCESS: Final = re.compile(r'\S+ \S+ \S+ \[\d+/\w+/\d{4}:[^]]+\] "')
_ADJACENT: Final = (
    "has lines of different length, such as a user and then items: only a script can write one item a line, such as "
    "awk '{ for (i = 2; i <= NF; i++) print $1 \",\" $i }'"
)
_BLOCKS: Final = (
    "has lines such as '1:' before the rows of each item: only a script can write the item into each row, such as "
    'awk -F, \'NF == 1 { sub(":", ""); item = $0; next } { print item "," $0 }\''
)


def is_server_log(lines: Sequence[str]) -> bool:
    """Whether these are requests as web servers log them."""
    return bool(lines) and all(map(_ACCESS.match, lines))


def no_table(lines: Sequence[str], default: Dialect) -> str:
    """What the lines are instead, and what to do."""
    widths = {len(line.split()) for line in lines[:TRIED]}
    if len(widths) > 2 and min(widths) > 0 and all(re.fullmatch(r"[\d\s]+", line) for line in lines[:TRIED]):
        return _ADJACENT
    if re.fullmatch(r"\S+:", lines[0]) and all("," in line for line in lines[1:3]):
        return _BLOCKS
    width = len(cells_of(lines[0], default))
    other, count = (
        Counter(len(cells_of(line, default)) for line in lines[1:TRIED]).most_common(1)[0] if lines[1:] else (0, 0)
    )
    if 1 < width != other > 1 and count > len(lines[:TRIED]) / 2:
        return f"has {width} names in its header and {other} cells in most rows; let the header name all of them"
    return (
        f"is no table that can be recognised: its first line is {lines[0][:60]!r}; give CSV, TSV, JSON lines or Parquet"
    )


def odd_line(lines: Sequence[str], body: Sequence[str], default: Dialect) -> str:
    """Which line is the first with another number of cells than the first one; empty if that has one cell."""
    width = len(cells_of(body[0], default))
    whole = takewhile(lambda line: not line.count('"') % 2, body)  # in others a cell may go on in the next line
    odd = next((line for line in whole if len(cells_of(line, default)) != width), None)
    if width < 2 or odd is None:
        return ""
    cells = len(cells_of(odd, default))
    return (
        f"; by {default.delimiter!r} line {lines.index(odd) + 1} is the first with another number of cells, {cells} in "
        f"place of {width}: put cells with {default.delimiter!r} in quotes, or let every line have as many"
    )


def cells_of(line: str, dialect: Dialect) -> Sequence[str]:
    """The cells of a line; none if it cannot be read."""
    if len(dialect.delimiter) > 1:
        return line.split(dialect.delimiter)
    try:
        return next(csv.reader([line], **csv_format(dialect)), [])
    except csv.Error:
        return []
