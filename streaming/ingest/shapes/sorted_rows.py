"""Rows of a table, sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from streaming.ingest.formats.sources import BEGIN, Position
from streaming.ingest.formats.table_rows import Rows
from streaming.ingest.ordering.external_sort import ExternalSort
from streaming.ingest.shapes.block_builder import Fields, RecordPlace, RowFields

_SCHEMA: Final = pa.schema(
    [("key", pa.int64()), ("line", pa.int64()), ("byte", pa.int64()), ("fields", pa.large_binary())]
)
_MOST: Final = (1 << 63) - 1
_decode = msgspec.msgpack.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode
Key = Callable[[Fields], int]


def by_time(fields: Fields) -> int:
    """A key for the order of time; rows without one come first."""
    return max(0, min(int(fields.get("time", 0)), _MOST))


def by_id(fields: Fields) -> int:
    """A key that puts rows of one id together."""
    return xxh3_64_intdigest(str(fields.get("id", "")).encode(errors="surrogateescape")) >> 1


def sorted_rows(table: Iterator[Rows], read: RowFields, key: Key, memory: int) -> Iterator[Rows]:
    """The rows that can be read in the order of `key`, holding about `memory` bytes; before them those that cannot."""
    end = BEGIN
    with ExternalSort("key", memory) as order:
        for rows in table:
            found, refused = list[tuple[Any, ...]](), list[tuple[RecordPlace, str]]()
            for place, fields in read.of(rows, lambda place, reason: refused.append((place, reason))):  # noqa: B023
                try:
                    found.append((key(fields), place.position.line, place.position.byte, _encode(fields)))
                except UnicodeEncodeError:
                    refused.append((place, f"not {rows.encoding.upper()}"))
            if found:
                columns = [
                    pa.array(list(column), field.type)
                    for column, field in zip(zip(*found, strict=True), _SCHEMA, strict=True)
                ]
                order.add(pa.record_batch(columns, schema=_SCHEMA))
            if refused:
                yield _faults(refused)
            end = rows.end
        for batch in order.batches():
            yield _read_back(batch, end)


def _faults(refused: list[tuple[RecordPlace, str]]) -> Rows:
    places = [place for place, _ in refused]
    return Rows(
        [()] * len(places),
        BEGIN,
        BEGIN,
        position=lambda i: places[i].position,
        raw=lambda i: places[i].rows.raw(places[i].index),
        faults={n: reason for n, (_, reason) in enumerate(refused)},
        ended=False,
    )


def _read_back(batch: pa.RecordBatch, end: Position) -> Rows:
    lines, bytes_, packed = (batch.column(name).to_pylist() for name in ("line", "byte", "fields"))
    return Rows(
        (),
        BEGIN,
        end,
        position=lambda i: Position(lines[i], bytes_[i]),
        raw=lambda i: msgspec.json.encode(_decode(packed[i])),
        ended=False,
        fields=[_decode(one) for one in packed],
    )
