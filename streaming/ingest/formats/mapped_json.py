"""JSON lines of another schema as a table, by a mapping of paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from recsys.errors import InvalidValueError
from streaming.ingest.decode_errors import explain
from streaming.ingest.formats.sources import BEGIN, JsonLines, Position
from streaming.ingest.formats.table_rows import Rows, rows_of_lines
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.row_mapper import follow
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
        self._pick = itemgetter(*mapping.names) if len(mapping.names) > 1 else self._cells_of

    @property
    def name(self) -> str:
        return self._lines.name

    def identity(self, before: Position) -> str:
        return self._mapping.fingerprint(self._lines.identity(before))

    def rows(self, start: Position = BEGIN) -> Iterator[Rows]:
        for block in self._lines.blocks(start):
            places = [i for i, line in enumerate(block.lines) if line.strip()]
            known = self._simple([block.lines[i] for i in places])
            yield rows_of_lines(block, places, self._read, known)

    def _simple(self, lines: Sequence[bytes]) -> list[Sequence[Any]] | None:
        """The cells of each line, if all are objects that are not too long; most blocks are so."""
        try:
            rows = list(map(_decode, lines))
            if max(map(len, lines), default=0) > self._max_line or any(type(row) is not dict for row in rows):
                return None
            try:
                return list(map(self._pick, rows))
            except KeyError:  # paths, or fields that some lack
                return [self._cells_of(row) for row in rows]
        except (ValueError, RecursionError):
            return None

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
        return self._cells_of(row)

    def _cells_of(self, row: dict[str, Any]) -> Sequence[Any]:
        return [row[name] if name in row else follow(row, path) for name, path in self._paths]
