"""CSV and Parquet files as sources of events, by a mapping of their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_128_hexdigest

from recsys.errors import InvalidValueError
from streaming.ingest.column_mapping import Mapping
from streaming.ingest.sources import BEGIN, IDENTITY_BYTES, Block, Fault, JsonLines, Position, Source
from streaming.ingest.validation import MAX_LINE

ROWS = 4096
Record = bytes | Fault


class CsvRows:
    """A CSV file with a header row; compressed by suffix as `JsonLines`. In `.tsv` tabs separate the cells."""

    def __init__(self, path: Path | str, mapping: Mapping, max_line: int = MAX_LINE) -> None:
        self._mapping = mapping
        self._max_line = max_line
        self._lines = JsonLines(path, max_line)
        self._delimiter = "\t" if ".tsv" in Path(path).suffixes else ","
        self._header = next(csv.reader(_TextLines(self._lines, BEGIN, max_line), delimiter=self._delimiter), [])
        mapping.check(self._header, self.name)

    @property
    def name(self) -> str:
        return self._lines.name

    def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
        text = _TextLines(self._lines, start, self._max_line)
        records = self._records(text)
        if start.line == 1:
            next(records)  # the header
        while group := list(islice(records, ROWS)):
            yield _block(group, text.position)

    def identity(self, before: Position) -> str:
        return self._lines.identity(before)

    def _records(self, text: _TextLines) -> Iterator[tuple[Position, Record]]:
        reader = csv.reader(text, delimiter=self._delimiter, strict=True)
        while True:
            at = text.position
            try:
                if cells := next(reader):
                    yield at, self._record(cells)
            except StopIteration:
                return
            except (csv.Error, _TooLongError) as error:
                yield at, Fault(str(error), text.last)

    def _record(self, cells: list[str]) -> Record:
        raw = self._delimiter.join(cells).encode(errors="surrogateescape")
        if len(cells) != len(self._header):
            return Fault(f"{len(cells)} cells for {len(self._header)} columns", raw)
        try:
            return self._mapping.line(dict(zip(self._header, cells, strict=True)))
        except UnicodeEncodeError:
            return Fault("not UTF-8", raw)
        except ValueError as error:
            return Fault(str(error), raw)


class ParquetRows:
    """A Parquet file, read a group of rows at a time. A position's line is the row, from 1."""

    def __init__(self, path: Path | str, mapping: Mapping) -> None:
        self._path = path
        self._mapping = mapping
        with pq.ParquetFile(path) as file:
            mapping.check(file.schema_arrow.names, self.name)

    @property
    def name(self) -> str:
        return str(self._path)

    def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
        row = 1
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(ROWS, columns=sorted(set(self._mapping.columns.values()))):
                skip = min(max(0, start.line - row), batch.num_rows)
                rows = batch.slice(skip).to_pylist()
                group = [(Position(row + skip + i), self._record(cells)) for i, cells in enumerate(rows)]
                row += batch.num_rows
                if group:
                    yield _block(group, Position(row))

    def _record(self, cells: dict[str, Any]) -> Record:
        try:
            return self._mapping.line(cells)
        except ValueError as error:
            return Fault(str(error), str(cells).encode())

    def identity(self, before: Position) -> str:  # noqa: ARG002
        """Of the whole file, wherever one is in it: Parquet files are not appended to."""
        with Path(self._path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - IDENTITY_BYTES))  # the footer knows where everything is
            return xxh3_128_hexdigest(file.read() + str(size).encode())


def open_source(path: Path | str, mapping: Mapping | None = None, max_line: int = MAX_LINE) -> Source:
    """The source for a file, by its suffix. Raises InvalidValueError for a table without a mapping, or with
    one that names other columns.

    >>> open_source("clicks.jsonl").name
    'clicks.jsonl'
    """
    kinds = {suffix.lower() for suffix in Path(path).suffixes}
    if not kinds & {".csv", ".tsv", ".parquet"}:
        return JsonLines(path, max_line)
    if mapping is None:
        raise InvalidValueError(f"{path} is a table: write a [[log.mapping]] from its columns to the fields of events")
    try:
        return ParquetRows(path, mapping) if ".parquet" in kinds else CsvRows(path, mapping, max_line)
    except pa.ArrowInvalid as error:
        raise InvalidValueError(f"{path} is not a Parquet file: {error}") from error


class _TooLongError(Exception):
    pass


class _TextLines:
    """Lines for `csv.reader`; `position` is that of the next one, `last` the bytes of the one before."""

    def __init__(self, lines: JsonLines, start: Position, max_line: int) -> None:
        self._max_line = max_line
        self.position = start
        self.last = b""
        self._lines = self._walk(lines, start)

    def __iter__(self) -> _TextLines:
        return self

    def __next__(self) -> str:
        self.last = next(self._lines)
        if len(self.last) > self._max_line:
            raise _TooLongError(f"longer than {self._max_line} bytes")
        return self.last.decode(errors="surrogateescape") + "\n"

    def _walk(self, lines: JsonLines, start: Position) -> Iterator[bytes]:
        for block in lines.blocks(start):
            number, byte = block.start.line, block.start.byte + block.unseen
            for line in block.lines:
                number, byte = number + 1, byte + len(line) + 1
                self.position = Position(number, byte)
                yield line
            self.position = block.end


def _block(group: Sequence[tuple[Position, Record]], end: Position) -> Block:
    records = [record for _, record in group]
    faults = {i: record for i, record in enumerate(records) if isinstance(record, Fault)}
    lines = [b"" if isinstance(record, Fault) else record for record in records]
    return Block(lines, group[0][0], end, faults, [at for at, _ in group])
