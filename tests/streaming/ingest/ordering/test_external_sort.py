"""Sorting on disk gives what sorting in memory gives, and keeps to its bound."""

from __future__ import annotations

import json
import random
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import IngestError
from streaming.events.columns import times
from streaming.ingest.counts import Counts
from streaming.ingest.formats.sources import JsonLines
from streaming.ingest.ordering import external_sort
from streaming.ingest.ordering.external_sort import ExternalSort
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.source_offsets import SourceOffsets
from streaming.log.event_log import read_range
from streaming.log.memory_log import MemoryLog
from tests.streaming.strategies import NOW


@pytest.mark.slow
@given(
    batches=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=20), max_size=30),
    memory=st.integers(0, 2_000),
    rows=st.integers(1, 5),
    fan_in=st.integers(2, 4),
)
def test_rows_come_in_order_and_equal_ones_as_they_were_added(
    batches: list[list[int]], memory: int, rows: int, fan_in: int
) -> None:
    given_rows = [(key, f"{i}.{j}") for i, batch in enumerate(batches) for j, key in enumerate(batch)]
    with pytest.MonkeyPatch.context() as patch, ExternalSort("key", memory) as order:
        patch.setattr(external_sort, "ROWS", rows)
        patch.setattr(external_sort, "FAN_IN", fan_in)
        for i, keys in enumerate(batches):
            values = [f"{i}.{j}" for j in range(len(keys))]
            order.add(pa.record_batch({"key": keys, "value": values}))
        found = [(row["key"], row["value"]) for batch in order.batches() for row in batch.to_pylist()]
        assert (order.spills > 0) == bool(batches) or memory >= 4
    assert found == sorted(given_rows, key=lambda row: row[0])


def test_a_small_bound_spills_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    keys_N = np.random.default_rng(0).integers(0, 1 << 40, 200_000)
    with ExternalSort("key", 1 << 17) as order:
        for part in np.split(keys_N, 200):
            order.add(pa.record_batch({"key": part}))
        found = np.concatenate([batch.column("key").to_numpy() for batch in order.batches()])
        assert order.spills > 2 * external_sort.FAN_IN
        # Nothing is there by name, so that a kill leaves nothing; and it did write there.
        assert not list(tmp_path.rglob("*"))
        assert any(Path(link).is_relative_to(tmp_path) for link in _open_files())
    assert not any(Path(link).is_relative_to(tmp_path) for link in _open_files())
    np.testing.assert_array_equal(found, np.sort(keys_N))


def events(count: int) -> list[bytes]:
    rng = random.Random(1)
    rows = [(rng.randrange(10_000), i) for i in range(count)]
    return [
        json.dumps({"type": "interaction", "time": time, "impression": f"r{i}", "item": "a"}).encode()
        for time, i in rows
    ]


@pytest.mark.parametrize("memory", [1 << 12, 1 << 30])
def test_unsorted_files_are_ingested_in_the_order_of_time(tmp_path: Path, memory: int, spills: list[int]) -> None:
    lines = events(3_000)
    lines[7] = b"{"
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines[:1_000]))
    (tmp_path / "b.jsonl").write_bytes(b"\n".join(lines[1_000:]))
    log = MemoryLog()
    sources = [JsonLines(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    offsets = SourceOffsets(tmp_path / "offsets")

    def ingest() -> Ingest:
        letters = DeadLetters(tmp_path / "dead")
        return Ingest(log, letters, window=100, clock=lambda: NOW, source_offsets=offsets, slack=0)

    first = ingest()
    assert first.sort(sources, memory) == Counts(2_999, 0, 1)
    assert (spills[0] > 0) == (memory < 1 << 20)
    found = [time for chunk in read_range(log, 0, 0, log.end()[0]) for time in times(chunk.events).tolist()]
    assert found == sorted(json.loads(line)["time"] for line in lines if line != b"{")
    assert first.late_events.count == 0
    assert [entry["line"] for entry in DeadLetters(tmp_path / "dead").read()] == [8]
    assert ingest().sort(sources, memory) == Counts(0, 2_999, 1)  # far more than the window
    assert log.end() == (2_999,)


def test_a_full_disk_is_an_ingest_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ExternalSort, "_write", full)
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(events(100)))
    ingest = Ingest(MemoryLog(), DeadLetters(tmp_path / "dead"), clock=lambda: NOW)
    with pytest.raises(IngestError, match="No space left on device"):
        ingest.sort([JsonLines(tmp_path / "a.jsonl")], 1 << 8)


def _open_files() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.append(str(link.readlink()))
    return found
