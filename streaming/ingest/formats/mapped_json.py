"""JSON lines of another schema as a table, by a mapping of paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from recsys.errors import InvalidValueError
from streaming.ingest.formats.sources import BEGIN, JsonLines, Position
from streaming.ingest.formats.table_rows import Rows, rows_of_lines
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.row_mapper import follow
from streaming.ingest.refusals.decode_errors import explain
from streaming.ingest.validation import MAX_LINE

_decode = msgspec.json.Decoder().decode


class MappedJson:
    """A file of JSON lines whose objects become events by `mapping`.

    A column is a path with dots, such as `context.user.id`, unless the object has that very name; through a list it
    leads to the values of all its elements.
    """

    def __init__(
        self, path: Path | str, mapping: Mapping, max_line: int = MAX_LINE, name: str = "", *, array: bool = False
    ) -> None:
        self._lines = JsonLines(path, max_line, name, array=array)
        self._max_line = max_line
        self._mapping = mapping
        self._paths = [(name, name.split(".")) for name in mapping.names]

    @property
    def name(self) -> str:
        return self._lines.name

    def identity(self, before: Position) -> str:
        return self._mapping.fingerprint(self._lines.identity(before))

    def rows(self, start: Position = BEGIN) -> Iterator[Rows]:
        for block in self._lines.blocks(start):
            places = [i for i, line in enumerate(block.lines) if line.strip()]
            yield rows_of_lines(block, places, self._read)

    def _read(self, line: bytes) -> Sequence[Any]:
        try:
            return self._cells(line)
        except (ValueError, RecursionError) as error:
            raise InvalidValueError(explain(line[: self._max_line + 1], error)) from error

    def _cells(self, line: bytes) -> Sequence[Any]:
        if len(line) > self._max_line:
            raise InvalidValueError(f"longer than {self._max_line} bytes")
        row = _decode(line)
        if not isinstance(row, dict):
            raise InvalidValueError("not an object")
        return [row[name] if name in row else follow(row, path) for name, path in self._paths]
