"""The log in files keeps the event log's contract, in segments, across processes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from recsys.errors import LogError
from streaming.log.event_log import EventLog
from streaming.log.file_log import FileLog
from tests.contracts.event_log import EventLogContract, events, numbers, read_all

PROCESSES = multiprocessing.get_context("fork")


class TestFileLog(EventLogContract):
    """Small segments and frames, so that every test crosses their borders."""

    def make(self, tmp: pytest.TempPathFactory, partitions: int) -> EventLog:
        return FileLog(tmp.mktemp("log"), partitions, fsync=False, segment_bytes=2000, frame_events=7, poll=0.001)

    def reopen(self, log: EventLog) -> EventLog:
        assert isinstance(log, FileLog)
        return FileLog(log.folder, fsync=False, segment_bytes=3000, frame_events=11)


def test_partitions_are_fixed_when_the_log_is_made(tmp_path: Path) -> None:
    FileLog(tmp_path, 3)
    assert FileLog(tmp_path).partitions == 3
    with pytest.raises(ValueError, match="has 3 partitions, not 2"):
        FileLog(tmp_path, 2)


def test_segments_are_named_by_their_first_offset(tmp_path: Path) -> None:
    log = FileLog(tmp_path, segment_bytes=1)
    for first in (0, 5, 10):
        log.append(events(first, 5))
    names = sorted(path.name for path in (tmp_path / "0").glob("*.segment"))
    assert names == [f"{base:020d}.segment" for base in (0, 5, 10)]
    assert read_all(FileLog(tmp_path)) == list(range(15))


def test_an_open_reader_follows_a_writer_across_segments(tmp_path: Path) -> None:
    writer, reader = FileLog(tmp_path, segment_bytes=1500), FileLog(tmp_path)
    for first in range(0, 60, 3):
        writer.append(events(first, 3))
        assert numbers(reader.read(0, first).events) == [first, first + 1, first + 2]
        assert numbers(reader.read(0, first // 2).events)[0] == first // 2


def test_dropped_segments_are_gone_for_readers_too(tmp_path: Path) -> None:
    log, reader = FileLog(tmp_path, segment_bytes=1), FileLog(tmp_path)
    for first in (0, 5, 10):
        log.append(events(first, 5))
    assert read_all(reader) == list(range(15))
    log.drop_before((9,))
    assert log.begin() == (5,)
    assert reader.begin() == (5,)
    with pytest.raises(LogError, match=r"offset 0 of partition 0 is before the oldest event kept, 5; start from"):
        reader.read(0, 0)
    assert numbers(reader.read(0, 5).events) == [5, 6, 7, 8, 9]
    log.drop_before(log.end())
    assert log.begin() == (10,)
    assert log.append(events(15, 1)) == 16


def test_consumer_names_stay_in_their_folder(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    for name in ("../x", "", ".", "a/b", "a" * 101):
        with pytest.raises(ValueError, match="consumer's name"):
            log.commit(name, (0,))


def _write(folder: Path, first: int) -> None:
    log = FileLog(folder, fsync=False, segment_bytes=20_000)
    for i in range(50):
        log.append(events(first + 3 * i, 3))


@pytest.mark.slow
def test_processes_append_and_read_together(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    writers = [PROCESSES.Process(target=_write, args=(tmp_path, 1000 * i)) for i in range(3)]
    for writer in writers:
        writer.start()
    followed: list[int] = []
    while len(followed) < 450 and log.wait((len(followed),), timeout=120):
        followed += numbers(log.read(0, len(followed), 50).events)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(followed) == sorted(1000 * i + j for i in range(3) for j in range(150))
    assert followed == read_all(FileLog(tmp_path))
