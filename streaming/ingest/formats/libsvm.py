"""libsvm and libFM files as tables: a label and pairs of index and value in each line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from recsys.errors import InvalidValueError
from streaming.ingest.formats.sources import BEGIN, JsonLines, Position
from streaming.ingest.formats.table_rows import Rows, rows_of_lines
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.validation import MAX_LINE

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PLACE: Final = re.compile(r"#[1-9]\d*", re.ASCII)


class LibsvmRows:
    """A file of lines such as `1 qid:7 3:1 12:0.5`, compressed by suffix as `JsonLines`; `#` begins a comment.

    Its columns are `label`, `qid`, `indices` (a list), `INDEX` (the value of an index, missing where it is not
    given) and `#1`, `#2`, ... (the first, second, ... index of the line: a category in files of one per field).
    Raises InvalidValueError for a mapping with another column.
    """

    def __init__(self, path: Path | str, mapping: Mapping, max_line: int = MAX_LINE, name: str = "") -> None:
        self._lines = JsonLines(path, max_line, name)
        self._max_line = max_line
        self._mapping = mapping
        self._names = mapping.names
        for column in self._names:
            if column not in ("label", "qid", "indices") and not column.isdecimal() and not _PLACE.fullmatch(column):
                raise InvalidValueError(
                    f"{self.name} has no column {column!r}; it has label, qid, indices, an index such as 12, and "
                    "#1, #2, ... for the index in that place"
                )

    @property
    def name(self) -> str:
        return self._lines.name

    def identity(self, before: Position) -> str:
        return self._mapping.fingerprint(self._lines.identity(before))

    def rows(self, start: Position = BEGIN) -> Iterator[Rows]:
        for block in self._lines.blocks(start):
            places = [i for i, line in enumerate(block.lines) if line.partition(b"#")[0].strip()]
            yield rows_of_lines(block, places, self._cells)

    def _cells(self, line: bytes) -> Sequence[Any]:
        if len(line) > self._max_line:
            raise InvalidValueError(f"longer than {self._max_line} bytes")
        label, *pairs = line.decode(errors="replace").partition("#")[0].split()
        if _NUMBER.fullmatch(label) is None:
            raise InvalidValueError(f"the line begins with {label[:80]!r}, which is not a label")
        found: dict[str, Any] = {"label": label}
        indices = []
        for pair in pairs:
            index, colon, value = pair.partition(":")
            if not colon or not (index.isdecimal() or index == "qid") or _NUMBER.fullmatch(value) is None:
                raise InvalidValueError(f"{pair[:80]!r} is not a pair of index and value")
            found[index] = value
            if index != "qid":
                indices.append(index)
        found["indices"] = indices
        found |= {f"#{place}": index for place, index in enumerate(indices, 1)}
        return [found.get(name) for name in self._names]
