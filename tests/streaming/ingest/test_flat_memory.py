"""The memory of an ingest does not grow with its input, whatever the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from benchmarks.harness import peak_memory

ROWS = 150_000
"""From here on memory was seen not to rise, up to five times as many rows of this length."""
SLACK = 32 << 20
"""What allocators differ by from run to run (19 MiB were seen); the rows that are added take 60 MiB as a table."""
INGEST = """
import sys, tempfile
from pathlib import Path
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.log.file_log import FileLog
source = open_source(Path(sys.argv[1]), Mapping("interaction", {name: name for name in ("time", "impression", "item")}))
with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as folder:
    ingest = Ingest(FileLog(Path(folder) / "log"), DeadLetters(Path(folder) / "dead"))
    assert ingest.run(source).accepted == int(sys.argv[2])
"""


def table(rows: int) -> pa.Table:
    numbers_N = np.arange(rows)
    texts = [f"request-{number:080}" for number in (numbers_N // 4).tolist()]
    items = [f"item-{number:030}" for number in (numbers_N * 7919 % 100_000).tolist()]
    return pa.table({"time": numbers_N, "impression": texts, "item": items})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "write"), [("csv", pyarrow.csv.write_csv), ("parquet", pyarrow.parquet.write_table)]
)
def test_four_times_the_rows_take_no_more_memory(
    tmp_path: Path, suffix: str, write: Callable[[pa.Table, Path], None]
) -> None:
    peaks = []
    for rows in (ROWS, 4 * ROWS):
        path = tmp_path / f"{rows}.{suffix}"
        write(table(rows), path)
        peaks.append(peak_memory(INGEST, str(path), str(rows)))
    assert peaks[1] - peaks[0] < SLACK, f"{peaks[0] / 2**20:.0f} and {peaks[1] / 2**20:.0f} MiB"
