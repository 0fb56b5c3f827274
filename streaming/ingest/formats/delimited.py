"""Delimited text, such as CSV and TSV, as a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from recsys.errors import InvalidValueError
from streaming.ingest.formats.dialect import Dialect, Row, RowReader, csv_format
from streaming.ingest.formats.encodings import wide_encoding
from streaming.ingest.formats.sources import BEGIN, Block, JsonLines, Position
from streaming.ingest.formats.table_rows import Rows
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.row_mapper import RowMapper
from streaming.ingest.validation import MAX_LINE


class DelimitedRows:
    """A file of delimited text, compressed by suffix as `JsonLines`. Bytes count in its content as UTF-8.

    Raises InvalidValueError for a header that cannot be read or lacks a column of the mapping, OSError for a file
    that cannot be read.
    """

    def __init__(
        self,
        path: Path | str,
        mapping: Mapping,
        dialect: Dialect | None = None,
        max_line: int = MAX_LINE,
        name: str = "",
    ) -> None:
        self._dialect = dialect or Dialect()
        self._mapping = mapping
        self._max_line = max_line
        self._lines = JsonLines(path, max_line, name, encoding=self._dialect.encoding)
        header, self._body = self._head()
        if header:  # without one the file is empty, such as a part without rows
            _check(mapping, header, self.name)
        places = [header.index(name) for name in mapping.names] if header else [0]
        self._pick = itemgetter(*places, places[0])  # one more, because of a single place it would give no tuple
        self._reader = RowReader(self._dialect, len(header), self._has_time)

    @cached_property
    def _mapper(self) -> RowMapper:
        return RowMapper(self._mapping)

    def _has_time(self, cells: Sequence[str]) -> bool:
        return self._mapper.has_time(self._pick(cells))

    @property
    def name(self) -> str:
        return self._lines.name

    def identity(self, before: Position) -> str:
        return self._mapping.fingerprint(self._lines.identity(before), self._dialect)

    def rows(self, start: Position = BEGIN) -> Iterator[Rows]:
        begin = max(start, self._body, key=lambda position: position.byte)
        rest: Block | None = None
        for block in self._lines.blocks(begin):
            if rest is not None and (block.unseen or sum(map(len, rest.lines)) > self._max_line):
                yield self._rows_of(rest, more=False)[0]
                rest = None
            joined = block
            if rest is not None:
                joined = replace(block, lines=rest.lines + block.lines, start=rest.start, unseen=rest.unseen)
            found, rest = self._rows_of(joined, more=True)
            if found.cells:
                yield found
        if rest is not None:
            yield self._rows_of(rest, more=False)[0]

    def _rows_of(self, block: Block, more: bool) -> tuple[Rows, Block | None]:
        """The rows in the lines of a block, and the lines of a last one that needs `more` of them."""
        long = [i for i, line in enumerate(block.lines) if len(line) > self._max_line]
        lines = [b"" if len(line) > self._max_line else line for line in block.lines] if long else block.lines
        whole = b"\n".join(lines).decode(errors="surrogateescape")
        if not long and (simple := self._reader.simple(whole)) is not None:
            cells = list(map(self._pick, simple))
            return Rows(
                cells,
                block.start,
                block.end,
                block.position,
                block.raw,
                ended=block.ended,
                encoding=self._dialect.encoding,
            ), None
        texts = whole.split("\n")
        rows, taken = self._reader.rows(texts, more)
        if long:
            rows += [Row(i, i + 1, [], f"longer than {self._max_line} bytes") for i in long if i < taken]
            rows.sort(key=lambda row: row.begin)
        found = self._found(block, rows, taken)
        if taken == len(lines):
            return found, None
        unseen = 0 if taken else block.unseen
        return found, replace(block, lines=block.lines[taken:], start=found.end, unseen=unseen)

    def _found(self, block: Block, rows: Sequence[Row], taken: int) -> Rows:
        done = taken == len(block.lines)
        return Rows(
            [self._pick(row.cells) if not row.fault else () for row in rows],
            block.start,
            block.end if done else block.position(taken),
            position=lambda i: block.position(rows[i].begin),
            raw=lambda i: b"\n".join(block.lines[rows[i].begin : rows[i].end]),
            faults={i: row.fault for i, row in enumerate(rows) if row.fault},
            ended=block.ended or not done,
            encoding=self._dialect.encoding,
        )

    def _head(self) -> tuple[Sequence[str], Position]:
        """The names of the columns, and where the first row begins; no names for a file without rows."""
        for block in self._lines.blocks():
            for i, line in enumerate(block.lines):
                text = line.decode(errors="surrogateescape").removesuffix("\r")
                if not text or (self._dialect.comment and text.startswith(self._dialect.comment)):
                    continue
                cells = self._cells(text, block.position(i).line)
                if self._dialect.header is True:
                    if self._dialect.typed:
                        cells = [cell.rpartition(":")[0] or cell for cell in cells]
                    return cells, (block.position(i + 1) if i + 1 < len(block.lines) else block.end)
                names = self._dialect.header or tuple(str(number + 1) for number in range(len(cells)))
                return list(names), BEGIN
        return [], BEGIN

    def _cells(self, text: str, number: int) -> list[str]:
        where = f"{self.name}, line {number}"
        if wide := wide_encoding(text.encode(errors="surrogateescape")):
            name = wide.upper().removesuffix("-LE").removesuffix("-BE")
            raise InvalidValueError(f'{where}: the file is {name}; write encoding = "{wide}" in its mapping')
        if "\r" in text:
            raise InvalidValueError(f"{where}: lines end with a carriage return alone; let them end with a newline")
        if len(self._dialect.delimiter) > 1:
            return text.split(self._dialect.delimiter)
        try:
            return next(csv.reader([text], **csv_format(self._dialect)))
        except csv.Error as error:
            quoted = [one for one in _DELIMITERS if f'"{one}"' in text and one != self._dialect.delimiter]
            raise InvalidValueError(
                f"{where}: the header has a stray or unclosed quote: {error}{_delimit(quoted[0]) if quoted else ''}"
            ) from error


def _check(mapping: Mapping, header: Sequence[str], source: str) -> None:
    """`Mapping.check`, with what to write if the first line looks like that of another dialect."""
    try:
        mapping.check(header, source)
    except InvalidValueError as error:
        raise InvalidValueError(f"{error}{_other_dialect(header)}") from None


def _other_dialect(header: Sequence[str]) -> str:
    """
    >>> _other_dialect(["user;item;at"]), _other_dialect(["# made by a job"]), _other_dialect(["user", "at"])
    ('; write delimiter = ";" in its mapping', '; if that line is no header, write comment = "#" in its mapping', '')
    """
    if header[0].startswith("#"):
        return '; if that line is no header, write comment = "#" in its mapping'
    found = next((one for one in _DELIMITERS if len(header) == 1 and one in header[0]), "")
    return _delimit(found) if found else ""


_DELIMITERS: Final = ("::", ";", "\t", "|", ",")


def _delimit(found: str) -> str:
    return f"; write delimiter = {msgspec.json.encode(found).decode()} in its mapping"
