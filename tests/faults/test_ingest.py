"""A killed ingest and a full disk: nothing that was counted is lost, nothing is there twice after going on."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import threading
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from recsys.errors import IngestError
from streaming.ingest.formats import sources
from streaming.ingest.formats.sources import JsonLines
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.source_offsets import SourceOffsets
from streaming.log.file_log import FileLog
from tests.contracts.event_log import read_all

pytestmark = pytest.mark.slow

PROCESSES = multiprocessing.get_context("fork")
COUNT = 3000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Every tenth line is broken."""
    path = tmp_path / "events.jsonl"
    rows = ({"type": "interaction", "time": i, "impression": f"r{i}", "item": "a"} for i in range(COUNT))
    path.write_text("".join("{\n" if i % 10 == 0 else json.dumps(row) + "\n" for i, row in enumerate(rows)))
    return path


EXPECTED = [i for i in range(COUNT) if i % 10]


def ingester(folder: Path) -> Ingest:
    return Ingest(FileLog(folder / "log", segment_bytes=20_000), DeadLetters(folder / "dead"), window=10_000)


def _ingest(folder: Path, file: Path, counted: Connection) -> None:
    sources.READ_BYTES = 1000
    ingester(folder).run(JsonLines(file), progress=lambda counts, _: counted.send(counts))


def test_a_killed_ingest_goes_on_without_loss_or_repetition(tmp_path: Path, file: Path) -> None:
    kills = 0
    for patience in (1, 20, 50, 90):
        receiver, sender = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=_ingest, args=(tmp_path, file, sender))
        process.start()
        sender.close()
        counts = None
        for _ in range(patience):
            counts = receiver.recv()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert counts is not None
        found = read_all(FileLog(tmp_path / "log"))
        assert found == EXPECTED[: len(found)]
        assert len(found) >= counts.accepted + counts.duplicate
    assert kills == 4
    rest = ingester(tmp_path).run(JsonLines(file))
    assert read_all(FileLog(tmp_path / "log")) == EXPECTED
    assert rest.read == COUNT
    assert rest.accepted + rest.duplicate == len(EXPECTED)
    lines = Counter(entry["line"] for entry in DeadLetters(tmp_path / "dead").read())
    assert sorted(lines) == [i + 1 for i in range(COUNT) if i % 10 == 0]


def _ingest_until_full(folder: Path, file: Path, limit: int, outcome: Connection) -> None:
    sources.READ_BYTES = 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    ingest = ingester(folder)
    try:
        ingest.run(JsonLines(file))
    except IngestError as error:
        outcome.send((ingest.counts, ingest.position, getattr(error.__cause__, "errno", 0)))


@pytest.mark.parametrize("limit", [300, 5_000, 12_000])
def test_a_full_disk_ends_with_exact_counts_and_ingest_goes_on(tmp_path: Path, file: Path, limit: int) -> None:
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_ingest_until_full, args=(tmp_path, file, limit, sender))
    process.start()
    sender.close()  # so that a writer without a fault ends the wait
    counts, position, number = receiver.recv()
    process.join()
    assert number in (errno.EFBIG, None)  # the fault happened; None: only a part of the dead letters was taken
    stored = read_all(FileLog(tmp_path / "log"))
    assert stored == EXPECTED[: counts.accepted]
    assert counts.dead == len(list(DeadLetters(tmp_path / "dead").read()))
    rest = ingester(tmp_path).run(JsonLines(file), start=position)
    assert read_all(FileLog(tmp_path / "log")) == EXPECTED
    assert counts.accepted + rest.accepted == len(EXPECTED)


def test_a_stop_in_the_middle_is_exact(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 1000)
    stop = threading.Event()
    stop.set()
    ingest = ingester(tmp_path)
    counts = ingest.run(JsonLines(file), stop=stop)
    assert 0 < counts.read < COUNT
    assert len(read_all(FileLog(tmp_path / "log"))) == counts.accepted
    assert ingest.position.line == counts.read + 1


def _merge(folder: Path, files: list[Path], merged: Connection) -> None:
    sources.READ_BYTES = 1000
    marks = SourceOffsets(folder / "marks")
    ingest = Ingest(FileLog(folder / "log"), DeadLetters(folder / "dead"), window=200, source_offsets=marks)
    ingest.merge([JsonLines(file) for file in files], progress=lambda counts, _: merged.send(counts))
    signal.pause()  # to be killed here when it was quicker than the killer


def test_a_killed_merge_goes_on_without_loss_or_repetition_and_in_order(tmp_path: Path) -> None:
    """With a window of duplicates far smaller than the files, so that offsets in the middle of blocks matter."""
    files = [tmp_path / "lists.jsonl", tmp_path / "clicks.jsonl"]
    for k, file in enumerate(files):
        rows = ({"type": "interaction", "time": i, "impression": f"r{i}", "item": "a"} for i in range(k, COUNT, 3 - k))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    kills = 0
    for patience in (1, 40, 75):
        receiver, sender = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=_merge, args=(tmp_path, files, sender))
        process.start()
        sender.close()
        for _ in range(patience):
            receiver.recv()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert kills == 3
    ingest = Ingest(
        FileLog(tmp_path / "log"),
        DeadLetters(tmp_path / "dead"),
        window=200,
        source_offsets=SourceOffsets(tmp_path / "marks"),
    )
    counts = ingest.merge([JsonLines(file) for file in files])
    expected = sorted([*range(0, COUNT, 3), *range(1, COUNT, 2)])
    assert counts.read == len(expected)
    found = read_all(FileLog(tmp_path / "log"))
    assert len(found) == counts.read - (len(expected) - len(set(expected)))
    assert found == sorted(set(expected))
