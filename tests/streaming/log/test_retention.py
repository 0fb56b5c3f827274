"""`[log] keep`: a log in files forgets its oldest events, and says what it forgot."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from recsys.errors import LogError
from streaming.ingest.counts import Counts
from streaming.ingest.duplicates.log_window import LogWindow
from streaming.ingest.formats.sources import JsonLines
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.source_offsets import SourceOffsets
from streaming.log.file_log import FileLog
from streaming.log.merged_reader import LogReader
from tests.contracts.event_log import events, numbers, read_all

SEGMENT = 3000
"""Bytes: a few appends of ten events."""


def opened(folder: Path, keep: int | None = 100) -> FileLog:
    """The time of an event is its number."""
    return FileLog(folder, fsync=False, segment_bytes=SEGMENT, keep=keep)


def fill(log: FileLog, first: int, end: int) -> None:
    for number in range(first, end, 10):
        log.append(events(number, 10))


def segments(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "0").glob("*.segment"))


def test_only_segments_that_are_old_as_a_whole_are_removed(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, 0, 1000)
    bases = segments(tmp_path)
    newest = bases[-1] + 9  # the last event of the append that began the newest segment
    assert bases[0] > 0
    assert bases[1] > newest - 100 >= bases[0]
    assert read_all(log) == read_all(FileLog(tmp_path)) == list(range(bases[0], 1000))
    assert log.begin() == (bases[0],)


def test_without_keep_everything_stays(tmp_path: Path) -> None:
    fill(opened(tmp_path, keep=None), 0, 1000)
    assert read_all(opened(tmp_path)) == list(range(1000))


def test_one_newer_event_keeps_its_segment_and_all_after_it(tmp_path: Path) -> None:
    log = opened(tmp_path, keep=None)
    log.append(events(5000, 1))
    fill(log, 0, 1000)
    kept = segments(tmp_path)
    fill(opened(tmp_path, keep=100), 1000, 2000)
    assert segments(tmp_path)[: len(kept) - 1] == kept[:-1]


def test_what_is_long_overdue_goes_over_several_segments(tmp_path: Path) -> None:
    fill(opened(tmp_path, keep=None), 0, 2000)
    many = len(segments(tmp_path))
    fill(opened(tmp_path), 2000, 3000)
    assert many > 20
    assert segments(tmp_path)[0] > 2500


def test_partitions_are_cut_each_for_itself(tmp_path: Path) -> None:
    log = FileLog(tmp_path, 2, fsync=False, segment_bytes=SEGMENT, keep=100)
    fill(log, 0, 1000)
    log.append(events(0, 5), 1)
    assert log.begin()[0] > 0
    assert read_all(log, 1) == list(range(5))


def test_a_cursor_before_the_oldest_event_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, 0, 1000)
    (begin,) = log.begin()
    with pytest.raises(LogError, match=rf"offset 40 .*oldest event kept, {begin}; .*\[training\] checkpoints.* keep"):
        LogReader(log, (40,), slack=0)


def test_a_consumer_that_has_not_read_what_goes_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = opened(tmp_path, keep=None)
    fill(log, 0, 500)
    log.commit("behind", (7,))
    log.commit("done", (500,))
    fill(opened(tmp_path), 500, 600)
    (begin,) = log.begin()
    assert begin > 7
    assert f"events 7 to {begin - 1} of partition 0 are removed before behind has read them" in caplog.text
    assert "done" not in caplog.text


def test_a_damaged_old_segment_fails_no_append(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = opened(tmp_path, keep=None)
    fill(log, 0, 300)
    oldest = tmp_path / "0" / f"{0:020d}.segment"
    oldest.write_bytes(oldest.read_bytes()[:-1] + b"?")
    fill(opened(tmp_path), 300, 600)
    assert segments(tmp_path)[0] == 0
    assert "old events stay: " in caplog.text
    assert "checksum" in caplog.text
    assert log.end() == (600,)


def test_duplicates_are_known_among_what_is_kept(tmp_path: Path) -> None:
    writer = opened(tmp_path)
    fill(writer, 0, 300)
    window = LogWindow(opened(tmp_path), 10_000)
    window.catch_up()
    fill(writer, 300, 3000)  # by another process: past all that the window has read
    window.catch_up()
    new_N, _ = window.find(events(2990, 20))
    assert new_N.tolist() == [False] * 10 + [True] * 10


def test_files_whose_events_are_gone_are_not_ingested_again(tmp_path: Path) -> None:
    def ingested(first: int) -> Counts:
        shown = ({"type": "user", "time": n, "user": f"u{n}", "features": {}} for n in range(first, first + 100))
        file = tmp_path / f"{first}.jsonl"
        file.write_text("".join(f"{json.dumps(one)}\n" for one in shown))
        dead, offsets = DeadLetters(tmp_path / "dead"), SourceOffsets(tmp_path / "offsets")
        log = FileLog(tmp_path / "log", fsync=False, segment_bytes=SEGMENT, keep=100)
        return Ingest(log, dead, window=20, source_offsets=offsets).run(JsonLines(file))

    files = range(0, 1000, 100)
    assert {ingested(first) for first in files} == {Counts(accepted=100)}
    assert segments(tmp_path / "log")[0] > 500
    assert {ingested(first) for first in files} == {Counts(duplicate=100)}


@pytest.mark.slow
def test_readers_read_every_event_that_is_kept_while_others_go(tmp_path: Path) -> None:
    writer = opened(tmp_path, keep=300)
    fill(writer, 0, 10)
    thread = threading.Thread(target=fill, args=(writer, 10, 6000))
    thread.start()
    reader, found, skipped = opened(tmp_path), list[int](), 0
    offset = 0
    while not found or found[-1] < 5999:
        try:
            chunk = reader.read(0, offset, 37)
        except LogError as error:
            assert "before the oldest event kept" in str(error)  # noqa: PT017, an error that may come
            offset = reader.begin()[0]
            skipped += 1
            continue
        part = numbers(chunk.events)
        assert part == list(range(offset, offset + len(part)))
        found += part
        offset = chunk.next_offset
    thread.join()
    assert segments(tmp_path)[0] > 5000
    assert found == sorted(set(found))


def _killed_at(folder: Path, step: int) -> None:
    unlink, left = Path.unlink, [step]

    def unlink_or_die(path: Path, missing_ok: bool = False) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        unlink(path, missing_ok)

    Path.unlink = unlink_or_die  # type: ignore[method-assign,assignment]
    fill(opened(folder), 500, 600)


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_a_writer_killed_between_two_removals_leaves_a_log_without_holes(tmp_path: Path, step: int) -> None:
    fill(opened(tmp_path, keep=None), 0, 500)
    before = segments(tmp_path)
    writer = multiprocessing.get_context("fork").Process(target=_killed_at, args=(tmp_path, step))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert segments(tmp_path)[0] == before[step]
    end = opened(tmp_path).end()[0]
    assert read_all(opened(tmp_path)) == list(range(before[step], end))
    fill(opened(tmp_path), end, 1000)
    kept = read_all(opened(tmp_path))
    assert kept == list(range(segments(tmp_path)[0], 1000 + end % 10))
    assert kept[0] > before[step]
