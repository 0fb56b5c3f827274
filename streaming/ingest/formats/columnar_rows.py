"""Files of columns, such as Parquet, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from streaming.ingest.formats.columnar import Columnar, batches, schema
from streaming.ingest.formats.sources import BEGIN, IDENTITY_BYTES, Position
from streaming.ingest.formats.table_rows import Rows
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.row_mapper import follow


class ColumnarRows:
    """A file of columns, read some rows at a time. A position's line is the row, from 1. Fields of
    structs are columns named by their path, such as `user.id`.

    Raises InvalidValueError for a file that lacks a column of the mapping, ArrowInvalid for one of another format.
    """

    def __init__(self, path: Path | str, mapping: Mapping, name: str = "", format: Columnar = "parquet") -> None:  # noqa: A002
        self._path = path
        self._format = format
        self._name = name or str(path)
        self._mapping = mapping
        self._names = mapping.names
        fields = schema(path, format)
        names = fields.names
        mapping.check([*names, *_inner_names(fields, names)], self.name)
        self._paths = [[name] if name in names else name.split(".") for name in self._names]

    @property
    def name(self) -> str:
        return self._name

    def rows(self, start: Position = BEGIN) -> Iterator[Rows]:
        row = 1
        columns = list(dict.fromkeys(path[0] for path in self._paths))
        for batch in batches(self._path, self._format, columns):
            skip = min(max(0, start.line - row), batch.num_rows)
            if skip < batch.num_rows:
                cells = {name: batch.column(name).slice(skip).to_pylist() for name in columns}
                found = [_followed(cells[name], inner) for name, *inner in self._paths]
                yield self._found(row + skip, list(zip(*found, strict=True)))
            row += batch.num_rows

    def _found(self, first: int, cells: Sequence[Sequence[Any]]) -> Rows:
        return Rows(
            cells,
            Position(first),
            Position(first + len(cells)),
            position=lambda i: Position(first + i),
            raw=lambda i: msgspec.json.encode(dict(zip(self._names, cells[i], strict=True)), enc_hook=str),
        )

    def identity(self, before: Position) -> str:  # noqa: ARG002
        """Of the whole file, wherever one is in it: such files are not appended to."""
        with Path(self._path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - IDENTITY_BYTES))  # the footer knows where everything is
            return self._mapping.fingerprint(xxh3_128_hexdigest(file.read() + str(size).encode()))


def _inner_names(fields: Iterable[pa.Field], parents: Sequence[str]) -> Iterator[str]:
    """Paths to the fields of structs, also in lists."""
    for field, parent in zip(fields, parents, strict=True):
        type_ = field.type
        while pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
            type_ = type_.value_type
        if pa.types.is_struct(type_):
            inner = [type_.field(i) for i in range(type_.num_fields)]
            paths = [f"{parent}.{one.name}" for one in inner]
            yield from paths
            yield from _inner_names(inner, paths)


def _followed(cells: list[Any], path: Sequence[str]) -> list[Any]:
    return [follow(cell, path) for cell in cells] if path else cells
