"""Parquet files as sources of events, by a mapping of their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
from xxhash import xxh3_128_hexdigest

from recsys.errors import InvalidValueError
from streaming.ingest.column_mapping import Mapping
from streaming.ingest.row_mapper import RowMapper
from streaming.ingest.sources import BEGIN, IDENTITY_BYTES, Block, Position

ROWS = 4096


class ParquetRows:
    """A Parquet file, read a group of rows at a time. A position's line is the row, from 1.

    Raises InvalidValueError for a file that lacks a column of the mapping, ArrowInvalid for one that is not Parquet.
    """

    def __init__(self, path: Path | str, mapping: Mapping, name: str = "") -> None:
        self._path = path
        self._name = name or str(path)
        self._mapping = mapping
        self._names = mapping.names
        self._mapper = RowMapper(mapping)
        with pq.ParquetFile(path) as file:
            mapping.check(file.schema_arrow.names, self.name)

    @property
    def name(self) -> str:
        return self._name

    def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
        row = 1
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(ROWS, columns=self._names):
                skip = min(max(0, start.line - row), batch.num_rows)
                columns = [batch.column(name).slice(skip).to_pylist() for name in self._names]
                if skip < batch.num_rows:
                    yield self._block(row + skip, list(zip(*columns, strict=True)))
                row += batch.num_rows

    def _block(self, first: int, rows: Sequence[Sequence[Any]]) -> Block:
        lines, faults = list[bytes](), dict[int, str]()
        for i, cells in enumerate(rows):
            try:
                lines.append(self._mapper.line(cells))
            except InvalidValueError as error:
                lines.append(b"")
                faults[i] = str(error)
        return Block(
            lines,
            Position(first),
            Position(first + len(rows)),
            faults,
            position_of=lambda i: Position(first + i),
            raw_of=lambda i: msgspec.json.encode(dict(zip(self._names, rows[i], strict=True)), enc_hook=str),
        )

    def identity(self, before: Position) -> str:  # noqa: ARG002
        """Of the whole file, wherever one is in it: Parquet files are not appended to."""
        with Path(self._path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - IDENTITY_BYTES))  # the footer knows where everything is
            return self._mapping.fingerprint(xxh3_128_hexdigest(file.read() + str(size).encode()))
