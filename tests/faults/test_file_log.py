"""What a killed writer, a flipped bit, a cut file and a full disk do to the log in files."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from recsys.errors import AppendError, LogCorruptedError, LogError
from streaming.log.file_log import FileLog
from streaming.log.files.segment import FRAME_BYTES, HEAD_BYTES
from tests.contracts.event_log import events, read_all

pytestmark = pytest.mark.slow

PROCESSES = multiprocessing.get_context("fork")


def segment_file(folder: Path, number: int = -1) -> Path:
    return sorted((folder / "0").glob("*.segment"))[number]


def made(folder: Path, frames: int = 3, **arguments: int) -> Path:
    """A log of `frames` frames of 4 events."""
    log = FileLog(folder, fsync=False, **arguments)
    for i in range(frames):
        log.append(events(4 * i, 4))
    return folder


def _append_for_ever(folder: Path, first: int, acknowledged: Connection) -> None:
    log = FileLog(folder, segment_bytes=30_000)
    while True:
        log.append(events(first, 5))
        first += 5
        acknowledged.send(first)


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    promised = 0
    for _ in range(15):
        receiver, sender = PROCESSES.Pipe(duplex=False)
        (start,) = FileLog(tmp_path).end()
        assert start >= promised
        writer = PROCESSES.Process(target=_append_for_ever, args=(tmp_path, start, sender))
        writer.start()
        sender.close()
        for _ in range(7):
            promised = receiver.recv()
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        while receiver.poll():
            try:
                promised = receiver.recv()
            except EOFError:
                break
        found = read_all(FileLog(tmp_path))
        assert found == list(range(len(found)))
        assert len(found) >= promised


def test_a_tail_cut_at_any_byte_is_ignored_then_overwritten(tmp_path: Path) -> None:
    folder = made(tmp_path, frames=2)
    whole = segment_file(folder).read_bytes()
    made(tmp_path / "shorter", frames=1)
    kept = segment_file(tmp_path / "shorter").stat().st_size
    assert HEAD_BYTES < kept < len(whole)
    for size in range(kept, len(whole)):
        segment_file(folder).write_bytes(whole[:size])
        log = FileLog(folder, fsync=False)
        assert log.end() == (4,), size
        assert read_all(log) == [0, 1, 2, 3]
        assert log.append(events(4, 4)) == 8
        assert segment_file(folder).read_bytes() == whole
    assert read_all(FileLog(folder)) == list(range(8))


@pytest.mark.parametrize("zeros", [1, FRAME_BYTES, 5000])
def test_zeros_that_a_power_cut_left_are_a_torn_tail(tmp_path: Path, zeros: int) -> None:
    with segment_file(made(tmp_path)).open("ab") as file:
        file.write(bytes(zeros))
    log = FileLog(tmp_path)
    assert read_all(log) == list(range(12))
    log.append(events(12, 1))
    assert read_all(FileLog(tmp_path)) == list(range(13))


@pytest.mark.parametrize("size", [0, 1, HEAD_BYTES - 1, HEAD_BYTES])
def test_a_segment_whose_header_is_torn_is_begun_again(tmp_path: Path, size: int) -> None:
    made(tmp_path, segment_bytes=1)
    file = segment_file(tmp_path)
    file.write_bytes(file.read_bytes()[:size])
    log = FileLog(tmp_path)
    assert read_all(log) == list(range(8))
    assert log.append(events(8, 1)) == 9
    assert read_all(FileLog(tmp_path)) == list(range(9))


def test_every_flipped_bit_is_refused_with_file_and_position(tmp_path: Path) -> None:
    file = segment_file(made(tmp_path, frames=2))
    whole = file.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        assert file.read_bytes() != whole
        with pytest.raises(LogCorruptedError, match=r"segment is corrupted at byte \d+") as caught:
            read_all(FileLog(tmp_path, fsync=False))
        assert str(file) in str(caught.value)
        assert int(str(caught.value).split("at byte ")[1].split(":")[0]) <= position
    file.write_bytes(whole)
    assert read_all(FileLog(tmp_path)) == list(range(8))


def test_a_writer_does_not_append_behind_damage(tmp_path: Path) -> None:
    file = segment_file(made(tmp_path))
    damaged = bytearray(file.read_bytes())
    damaged[HEAD_BYTES] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(LogCorruptedError):
        FileLog(tmp_path).append(events(12, 1))
    assert file.read_bytes() == damaged


def test_a_segment_in_the_middle_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    made(tmp_path, frames=4, segment_bytes=1000)
    file = segment_file(tmp_path, 0)
    assert file != segment_file(tmp_path, -1)
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(LogCorruptedError, match=f"{file.name} ends at offset"):
        read_all(FileLog(tmp_path))


def test_damage_that_a_reader_sees_after_having_read_is_refused(tmp_path: Path) -> None:
    file = segment_file(made(tmp_path))
    log = FileLog(tmp_path)
    assert read_all(log, offset=8) == [8, 9, 10, 11]
    damaged = bytearray(file.read_bytes())
    damaged[HEAD_BYTES + FRAME_BYTES + 10] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(LogCorruptedError, match="checksum of 4 events from offset 0"):
        log.read(0, 0)


def _append_until_full(folder: Path, limit: int, outcome: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    log, end = FileLog(folder), 0
    try:
        while True:
            end = log.append(events(end, 9))
    except AppendError as error:
        outcome.send((end, error.errno, str(error), log.end()))


@pytest.mark.parametrize("limit", [10, 1_900, 10_000])
def test_a_full_disk_loses_nothing_and_leaves_the_log_valid(tmp_path: Path, limit: int) -> None:
    FileLog(tmp_path)
    receiver, sender = PROCESSES.Pipe(duplex=False)
    writer = PROCESSES.Process(target=_append_until_full, args=(tmp_path, limit, sender))
    writer.start()
    sender.close()  # so that a writer without a fault ends the wait
    end, number, message, seen = receiver.recv()
    writer.join()
    assert number == errno.EFBIG  # the fault happened: the write went up to the limit
    assert f"{tmp_path}" in message
    assert "not appended" in message
    assert seen == (end,)
    log = FileLog(tmp_path)
    assert read_all(log) == list(range(end))
    assert log.append(events(end, 9)) == end + 9
    assert read_all(FileLog(tmp_path)) == list(range(end + 9))


def test_a_failing_fsync_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    calls: list[int] = []

    def failing(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "injected")

    log = FileLog(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", failing)
        with pytest.raises(AppendError):
            log.append(events(12, 4))
    assert calls
    assert log.end() == (12,)
    assert log.append(events(12, 1)) == 13
    assert read_all(FileLog(tmp_path)) == list(range(13))


def test_what_another_writer_took_back_is_not_written_behind(tmp_path: Path) -> None:
    folder, shorter = made(tmp_path / "log"), made(tmp_path / "shorter", frames=2)
    log = FileLog(folder, fsync=False)
    assert log.end() == (12,)
    os.truncate(segment_file(folder), segment_file(shorter).stat().st_size)
    assert log.end() == (8,)
    log.append(events(8, 2))
    assert read_all(log) == read_all(FileLog(folder)) == list(range(10))


def test_a_reader_beyond_the_end_of_a_cut_log_does_not_wait_for_ever(tmp_path: Path) -> None:
    log = FileLog(made(tmp_path))
    assert not log.wait((12,), 0)
    os.truncate(segment_file(tmp_path), HEAD_BYTES)
    with pytest.raises(LogError, match=r"ends at \(0,\), before \(12,\): the log was cut"):
        log.wait((12,), 60)


@pytest.mark.parametrize("content", ["garbage", "[]", "{}", '{"partitions": "x"}'])
def test_a_damaged_description_is_named(tmp_path: Path, content: str) -> None:
    (made(tmp_path) / "log.json").write_text(content)
    with pytest.raises(LogCorruptedError, match=r"log\.json is damaged"):
        FileLog(tmp_path)
