"""Files of columns, read without pandas' types."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

from streaming.ingest.formats.columnar import Columnar, batches

WRITERS = {
    "parquet": pq.write_table,
    "arrow": lambda table, path: feather.write_feather(table, path, compression="uncompressed"),
    "orc": orc.write_table,
}


@pytest.mark.parametrize("written", ["parquet", "arrow", "orc"])
def test_nanoseconds_are_cut_off_without_pandas(tmp_path: Path, written: Columnar) -> None:
    """Arrow makes pandas' timestamps of them, and refuses to where pandas is not installed."""
    times = pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC"))
    WRITERS[written](pa.table({"time": times, "user": ["a", "b"]}), tmp_path / "file")
    (batch,) = batches(tmp_path / "file", written, ["time", "user"])
    found, none = batch.column("time").to_pylist()
    assert type(found) is datetime
    assert found == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert none is None
    assert batch.column("user").to_pylist() == ["a", "b"]
