"""Rows and cells of delimited text, such as CSV. A stray quote spoils only its own row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from recsys.errors import InvalidValueError

_MOST_CELL: Final = 1 << 30
csv.field_size_limit(_MOST_CELL)  # the length of a line is bounded by `max_line`; 128 KiB are too few for a long list


@dataclass(frozen=True, slots=True)
class Dialect:
    """The format of rows and cells in delimited text. Raises InvalidValueError for contradictory settings.

    `quote` and `escape` are one character, or empty for none. `header` tells whether the
    first row names the columns; otherwise it gives the names, or they are numbers from "1". Lines that begin with
    `comment` are skipped. A delimiter of several characters allows no quotes or escapes.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool | tuple[str, ...] = True
    comment: str = ""
    encoding: str = "utf-8"
    typed: bool = False
    """Whether the names in the header have a type behind a colon, as in `user_id:token`."""

    def __post_init__(self) -> None:
        if not self.delimiter or "\n" in self.delimiter or "\r" in self.delimiter:
            raise InvalidValueError(f"delimiter: {self.delimiter!r} cannot separate cells")
        for name, text in (("quote", self.quote), ("escape", self.escape)):
            if len(text) > 1 or text in ("\n", "\r") or (text and text in self.delimiter):
                raise InvalidValueError(f"{name}: {text!r} is not one character, apart from the delimiter, or empty")
        if len(self.delimiter) > 1 and (self.quote or self.escape):
            raise InvalidValueError(f'a delimiter of several characters, {self.delimiter!r}, needs quote = ""')
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise InvalidValueError(f"encoding: {error}; such as utf-8, latin-1, cp1252 or utf-16") from None


@dataclass(frozen=True, slots=True)
class Row:
    """Lines `begin` to `end` of a text: the cells, or why they cannot be read."""

    begin: int
    end: int
    cells: Sequence[str]
    fault: str = ""


class RowReader:
    """Cuts lines (without their ends) into rows of `width` cells.

    `readable` tells whether cells could be a row by their content. A quoted cell may go over several lines, unless
    both its first line and a later one are rows by themselves: then the quote is a stray one.
    """

    def __init__(self, dialect: Dialect, width: int, readable: Callable[[Sequence[str]], bool]) -> None:
        self._dialect = dialect
        self._width = width
        self._readable = readable
        self._format = csv_format(dialect)

    def simple(self, text: str) -> list[list[str]] | None:
        """The cells of each line, if each is a row and nothing in the text needs a closer look; most files are so."""
        if any(one and one in text for one in (self._dialect.escape, self._dialect.comment, "\r")):
            return None
        lines, width = text.split("\n"), self._width
        if self._dialect.quote and self._dialect.quote in text:
            try:
                cells = list(csv.reader(lines, **self._format))
            except csv.Error:
                return None
        else:
            cells = [line.split(self._dialect.delimiter) for line in lines]
        whole = len(cells) == len(lines) and all(len(row) == width for row in cells)
        return cells if whole and (width > 1 or [""] not in cells) else None

    def rows(self, lines: Sequence[str], more: bool) -> tuple[list[Row], int]:
        """The rows in `lines`, and how many lines they took: with `more` to come, all but an unfinished row."""
        if self._dialect.escape or (self._dialect.quote and any(self._dialect.quote in line for line in lines)):
            found, taken = self._quoted(lines, more)
        else:
            found, taken = self._plain(lines), len(lines)
        return [self._checked(row) for row in found if not self._is_comment(lines[row.begin])], taken

    def _plain(self, lines: Sequence[str]) -> list[Row]:
        texts = (line.removesuffix("\r") for line in lines)
        return [Row(i, i + 1, text.split(self._dialect.delimiter)) for i, text in enumerate(texts) if text]

    def _quoted(self, lines: Sequence[str], more: bool) -> tuple[list[Row], int]:
        found: list[Row] = []
        at = 0
        while at < len(lines):
            singles, end, reason = self._singles(lines, at)
            found += [row for row in singles if row.cells]
            at += len(singles)
            if at == len(lines):
                break
            if more and reason == _UNENDED and not (self._is_comment(lines[at]) or self._swallows(lines, at, end)):
                break
            found.append(Row(at, at + 1, [], self._why(reason, at, end)) if reason else self._spanning(lines, at, end))
            at = found[-1].end
        return found, at

    def _singles(self, lines: Sequence[str], at: int) -> tuple[list[Row], int, str]:
        """The rows of one line each from line `at` on; the end of the one after them, and why that cannot be read."""
        rows: list[Row] = []
        reader = csv.reader(map(lines.__getitem__, range(at, len(lines))), **self._format)
        try:
            for cells in reader:
                if reader.line_num > len(rows) + 1:
                    break
                rows.append(Row(at + len(rows), at + len(rows) + 1, cells))
        except csv.Error as error:
            return rows, at + reader.line_num, str(error)
        return rows, at + reader.line_num, ""

    def _is_comment(self, line: str) -> bool:
        return bool(self._dialect.comment) and line.startswith(self._dialect.comment)

    def _spanning(self, lines: Sequence[str], at: int, end: int) -> Row:
        """The row of several lines, or a fault of its first line."""
        cells = next(csv.reader([line + "\n" for line in lines[at:end]], **self._format))
        if len(cells) != self._width or self._swallows(lines, at, end):
            return Row(at, at + 1, [], self._why(_UNENDED, at, end))
        return Row(at, end, cells)

    def _swallows(self, lines: Sequence[str], at: int, end: int) -> bool:
        """Whether the first of the lines and a later one are rows by themselves."""
        return self._is_row(lines[at]) and any(self._is_row(line) for line in lines[at + 1 : end])

    def _is_row(self, line: str) -> bool:
        """Whether the line is a row of the right width if its quotes are read with more tolerance, or not at all."""
        line = line.replace("\r", "")
        ways = (line.split(self._dialect.delimiter), next(csv.reader([line], **self._format | {"strict": False}), []))
        return any(len(cells) == self._width and self._readable(cells) for cells in ways)

    def _why(self, reason: str, at: int, end: int) -> str:
        if reason == _UNENDED or end > at + 1:
            return f"a quote ({self._dialect.quote}) is not closed; {_REMEDY}"
        return f"{reason}; {_REMEDY}; {_ESCAPED}" if "expected after" in reason else reason

    def _checked(self, row: Row) -> Row:
        if row.fault or len(row.cells) == self._width:
            return row
        return Row(row.begin, row.end, [], f"{len(row.cells)} cells for {self._width} columns")


_UNENDED: Final = "unexpected end of data"
_REMEDY: Final = 'if quotes mean nothing in this file, write quote = "" in its mapping'
_ESCAPED: Final = 'if a backslash stands before quotes inside of cells, escape = "\\\\"'


def csv_format(dialect: Dialect) -> dict[str, Any]:
    """The arguments for `csv.reader`."""
    quoting = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    return {
        "delimiter": dialect.delimiter,
        "quotechar": dialect.quote or None,
        "escapechar": dialect.escape or None,
        "quoting": quoting,
        "doublequote": True,
        "strict": True,
    }
