"""Files of columns as a schema and batches of rows: Parquet, Arrow IPC (Feather) and ORC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq

Columnar = Literal["parquet", "arrow", "orc"]
MAGIC: Final[dict[bytes, Columnar]] = {b"PAR1": "parquet", b"ARROW1": "arrow", b"ORC": "orc"}
"""How such files begin."""
ROWS: Final = 4096
"""Most rows of a batch."""
BUFFER: Final = 1 << 20
"""Bytes of a column of Parquet that are read at once. Without it the columns of a whole group of rows are held, a file
often."""


def schema(path: Path | str, format: Columnar) -> pa.Schema:  # noqa: A002
    """Names and types of the columns. Raises pyarrow's ArrowInvalid for a file of another format."""
    if format == "parquet":
        return pq.read_schema(path)
    if format == "orc":
        return orc.ORCFile(path).schema
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        return reader.schema


def batches(path: Path | str, format: Columnar, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:  # noqa: A002
    """All rows in their order, of these columns `in_micros`, at most `ROWS` together. Raises as `schema`."""
    for read in _batches(path, format, list(columns)):
        types = in_micros(read.schema)
        batch = read if types == read.schema else read.cast(types, safe=False)
        for begin in range(0, batch.num_rows, ROWS):
            yield batch.slice(begin, ROWS)


def in_micros(columns: pa.Schema) -> pa.Schema:
    """With microseconds for nanoseconds: events have milliseconds, and Python nanoseconds only where pandas is."""
    return pa.schema([_in_micros(field) for field in columns], columns.metadata)


def _in_micros(field: pa.Field) -> pa.Field:
    if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
        return field.with_type(pa.timestamp("us", field.type.tz))
    return field


def _batches(path: Path | str, format: Columnar, columns: list[str]) -> Iterator[pa.RecordBatch]:  # noqa: A002
    if format == "parquet":
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            yield from file.iter_batches(ROWS, columns=columns)
    elif format == "orc":
        stripes = orc.ORCFile(path)
        for number in range(stripes.nstripes):
            yield from pa.Table.from_batches([stripes.read_stripe(number, columns)]).select(columns).to_batches()
    else:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number).select(columns)
