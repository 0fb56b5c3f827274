"""JSON lines of another schema as a source of events, by a mapping of paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from recsys.errors import InvalidValueError
from streaming.ingest.decode_errors import explain
from streaming.ingest.formats.sources import BEGIN, Block, JsonLines, Position
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.row_mapper import RowMapper, follow
from streaming.ingest.validation import MAX_LINE

_decode = msgspec.json.Decoder().decode


class MappedJson:
    """A file of JSON lines whose objects become events by `mapping`.

    A column is a path with dots, such as `context.user.id`, unless the object has that very name; through a list it
    leads to the values of all its elements.
    """

    def __init__(self, path: Path | str, mapping: Mapping, max_line: int = MAX_LINE, name: str = "") -> None:
        self._lines = JsonLines(path, max_line, name)
        self._max_line = max_line
        self._mapping = mapping
        self._mapper = RowMapper(mapping)
        self._paths = [(name, name.split(".")) for name in mapping.names]

    @property
    def name(self) -> str:
        return self._lines.name

    def identity(self, before: Position) -> str:
        return self._mapping.fingerprint(self._lines.identity(before))

    def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
        for block in self._lines.blocks(start):
            lines, faults = list(block.lines), dict[int, str]()
            for i, line in enumerate(lines):
                if len(line) > self._max_line or not line.strip():
                    continue  # too long: refused when decoded
                try:
                    lines[i] = self._line(line)
                except (ValueError, RecursionError) as error:
                    lines[i], faults[i] = b"", explain(line, error)
            yield replace(block, lines=lines, faults=faults, position_of=block.position, raw_of=block.raw)

    def _line(self, line: bytes) -> bytes:
        row = _decode(line)
        if not isinstance(row, dict):
            raise InvalidValueError("not an object")
        return self._mapper.line([row[name] if name in row else follow(row, path) for name, path in self._paths])
