"""Removing a user's events from a log: what goes, what stays, and what readers, writers and a kill -9 see of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from typing import Any

import pytest

from streaming.events.columns import erased_users
from streaming.events.schema import Erasure, Event, Impression, Interaction, ItemUpdate, ShadowScores, UserUpdate
from streaming.ingest.codec import encode_events, to_events
from streaming.ingest.duplicates.log_window import LogWindow
from streaming.log.erasure import UserEvents, append_erasures
from streaming.log.event_log import EventLog, read_range
from streaming.log.file_log import FileLog
from streaming.log.memory_log import MemoryLog
from streaming.log.merged_reader import LogReader
from streaming.log.partitioning import split

ADA, BOB = "ada lovelace é", "bob"
PROCESSES = multiprocessing.get_context("fork")


def shown(user: str, n: int) -> list[Event]:
    """A click that comes before its impression, the impression, and an update of the user."""
    return [
        Interaction(time=10 * n, impression=f"{user}-{n}", item="x", id=f"c-{user}-{n}"),
        Impression(id=f"{user}-{n}", time=10 * n + 1, user=user, items=["x", "y"], features={"age": n}),
        UserUpdate(time=10 * n + 2, user=user, features={"town": f"{n}"}, id=f"u-{user}-{n}"),
    ]


def fill(log: EventLog, numbers: Sequence[int], users: Sequence[str] = (ADA, BOB)) -> None:
    for n in numbers:
        events = [event for user in users for event in shown(user, n)]
        events.append(ItemUpdate(time=10 * n + 3, item=ADA, features={"of": "an item of that name"}, id=f"i-{n}"))
        for partition, part in split(encode_events(events), log.partitions):
            log.append(part, partition)


def everything(log: EventLog) -> list[list[Event]]:
    return [
        [event for chunk in read_range(log, partition, *ends) for event in to_events(chunk.events)]
        for partition, ends in enumerate(zip(log.begin(), log.end(), strict=True))
    ]


def opened(folder: Path, partitions: int | None = None) -> FileLog:
    return FileLog(folder, partitions, fsync=False, segment_bytes=3000, frame_events=5)


def erase(log: FileLog, *users: str) -> None:
    append_erasures(log, users)
    UserEvents(log, users).remove(log)


def of_user(event: Event, user: str) -> bool:
    names = (getattr(event, "user", ""), getattr(event, "impression", ""), event.id)
    return any(user in name for name in names) and not isinstance(event, Erasure | ItemUpdate)


@pytest.mark.parametrize("partitions", [1, 3])
def test_every_event_of_the_user_is_gone_and_all_others_stay_in_their_places(tmp_path: Path, partitions: int) -> None:
    log = opened(tmp_path, partitions)
    fill(log, range(40))
    before = everything(log)
    assert UserEvents(log, [ADA, BOB, "nobody"]).count() == {ADA: 120, BOB: 120, "nobody": 0}
    append_erasures(log, [ADA])
    UserEvents(log, [ADA]).remove(log)
    assert UserEvents(opened(tmp_path), [ADA, BOB]).count() == {ADA: 0, BOB: 120}
    gone = 0
    for was, now in zip(before, everything(opened(tmp_path)), strict=True):
        *now, last = now
        assert last == Erasure(time=was[-1].time, user=ADA)
        assert [event.time for event in now] == [event.time for event in was]
        gone += sum(of_user(event, ADA) for event in was)
        assert now == [Erasure(time=event.time) if of_user(event, ADA) else event for event in was]
    assert gone == 120


def test_no_file_has_the_name_anywhere_but_in_the_erasure(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, range(40), [ADA])
    erase(log, ADA)
    said = b"".join(chunk.events.serialize().to_pybytes() for chunk in read_range(log, 0, 0, 161))
    assert said.count(ADA.encode()) == 40 + 1  # items of that name, and the erasure
    assert not list((tmp_path / "0").glob(".*"))


def test_what_challengers_scored_for_the_user_goes_too(tmp_path: Path) -> None:
    log = opened(tmp_path, 3)
    fill(log, range(2))
    made: list[Event] = [
        ShadowScores(10 * n + 1, f"{user}-{n}", user, "wide@1", [0.5, 0.25], f"{user}-{n} wide@1")
        for n in range(2)
        for user in (ADA, BOB)
    ]
    for partition, part in split(encode_events(made), log.partitions):
        log.append(part, partition)
    assert [event for part in everything(log) for event in part if isinstance(event, ShadowScores)] != []
    for part in everything(log):
        ids = {event.id for event in part if isinstance(event, Impression)}
        assert {event.impression for event in part if isinstance(event, ShadowScores)} == ids
    erase(log, ADA)
    left = [event for part in everything(log) for event in part if isinstance(event, ShadowScores)]
    assert sorted(event.user for event in left) == [BOB, BOB]


def test_erasing_again_changes_nothing_and_a_user_who_comes_back_is_a_new_one(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, range(10))
    erase(log, ADA)
    found = UserEvents(log, [ADA, BOB])
    assert (found.is_erased(ADA), found.is_erased(BOB)) == (True, False)
    once = everything(log)
    UserEvents(log, [ADA]).remove(log)
    assert everything(log) == once
    fill(log, range(20, 23), [ADA])
    again = UserEvents(log, [ADA])
    assert (again.count()[ADA], again.is_erased(ADA)) == (0, False)
    assert UserEvents(log, [ADA], returned=True).count()[ADA] == 9
    before = everything(log)
    again.remove(log)
    assert everything(log) == before
    erase(log, ADA)
    assert UserEvents(log, [ADA]).count() == {ADA: 0}
    assert sum(of_user(event, ADA) for event in everything(log)[0]) == 0


def test_duplicates_of_others_are_known_after_it_and_those_of_the_user_are_new(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, range(5))
    erase(log, ADA)
    window = LogWindow(log, 1000)
    window.catch_up()
    new_N, clash_N = window.find(encode_events([*shown(ADA, 2), *shown(BOB, 2)]))
    assert new_N.tolist() == [True] * 3 + [False] * 3
    assert not clash_N.any()


def test_an_erasure_that_reached_some_partitions_is_finished_by_the_next(tmp_path: Path) -> None:
    log = opened(tmp_path, 3)
    fill(log, range(10))
    log.append(encode_events([Erasure(time=1, user=ADA)]), 1)  # and then its writer was killed
    assert not UserEvents(log, [ADA]).is_erased(ADA)
    erase(log, ADA)
    found = UserEvents(log, [ADA])
    assert found.is_erased(ADA)
    assert found.count() == {ADA: 0}


def test_the_erasure_moves_no_clock_whatever_the_hour() -> None:
    log = MemoryLog(2)
    log.append(encode_events(shown(ADA, 5)), 1)
    append_erasures(log, [ADA])
    assert [[event.time for event in events] for events in everything(log)] == [[0], [50, 51, 52, 52]]


def test_readers_that_have_begun_go_on_and_keep_their_places(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, range(40))
    was = everything(log)[0]
    half, behind = opened(tmp_path), opened(tmp_path)
    first = half.read(0, 0, 33)
    assert to_events(first.events) == was[: first.next_offset]
    assert to_events(behind.read(0, 278, 10).events) == was[278:280]
    assert half.end() == (280,)
    erase(log, ADA)
    fill(log, range(40, 42))
    now = everything(opened(tmp_path))[0]
    for reader in (half, behind):
        chunks = read_range(reader, 0, first.next_offset, reader.end()[0])
        assert [event for chunk in chunks for event in to_events(chunk.events)] == now[first.next_offset :]
    assert [event for event in now[:280] if of_user(event, ADA)] == []
    assert len(now) == 280 + 1 + 14


def _append_until(folder: Path, stop: Signal, began: Signal) -> None:
    log, n = opened(folder), 1000
    while not stop.is_set():
        fill(log, [n], [BOB])
        began.set()
        n += 1
    os._exit(0 if n > 1000 else 1)


def test_a_process_that_appends_meanwhile_loses_nothing(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, range(60))
    stop, began = PROCESSES.Event(), PROCESSES.Event()
    writer = PROCESSES.Process(target=_append_until, args=(tmp_path, stop, began))
    writer.start()
    assert began.wait(120)
    erase(log, ADA)
    stop.set()
    writer.join()
    assert writer.exitcode == 0
    names = [
        event.id for event in everything(opened(tmp_path))[0] if isinstance(event, Impression) and event.time > 9e3
    ]
    assert names == [f"{BOB}-{n}" for n in range(1000, 1000 + len(names))]
    assert names
    assert UserEvents(opened(tmp_path), [ADA]).count() == {ADA: 0}


def test_a_segment_that_is_removed_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, range(60))
    others, removed = opened(tmp_path), list[Any]()

    def crash(point: str) -> None:
        if point == "frame written" and not removed:
            others.drop_before(log.end())
            removed.append(others.begin())

    append_erasures(log, [ADA])
    UserEvents(log, [ADA]).remove(log, crash)
    assert removed
    assert opened(tmp_path).begin() == removed[0]
    assert UserEvents(opened(tmp_path), [ADA]).count() == {ADA: 0}


def _erase(folder: Path, user: str, ready: Barrier) -> None:
    log = opened(folder)
    append_erasures(log, [user])
    ready.wait(120)
    UserEvents(log, [user]).remove(log)
    os._exit(0)


def test_two_processes_that_erase_at_once_erase_both(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, range(60), [ADA, BOB, "eve"])
    ready = PROCESSES.Barrier(2)
    erasers = [PROCESSES.Process(target=_erase, args=(tmp_path, user, ready)) for user in (ADA, BOB)]
    for eraser in erasers:
        eraser.start()
    for eraser in erasers:
        eraser.join()
        assert eraser.exitcode == 0
    assert UserEvents(opened(tmp_path), [ADA, BOB, "eve"]).count() == {ADA: 0, BOB: 0, "eve": 180}


def test_old_segments_still_go_in_a_process_that_knew_them_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(opened(tmp_path), range(60))
    writer = FileLog(tmp_path, fsync=False, segment_bytes=3000, frame_events=5, keep=100)
    assert len(everything(writer)[0]) == 420
    erase(opened(tmp_path), ADA)
    for n in range(1000, 1010):
        fill(writer, [n])
    assert writer.begin()[0] > 0
    assert caplog.text == ""


POINTS = ["frame written", "segment written", "segment replaced"]


def _erase_and_die(folder: Path, point: str, at: int) -> None:
    left = at

    def crash(here: str) -> None:
        nonlocal left
        left -= here == point
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    log = opened(folder)
    UserEvents(log, [ADA]).remove(log, crash)


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 2, 5])
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_leaves_each_event_as_it_was_or_gone(tmp_path: Path, point: str, at: int) -> None:
    log = opened(tmp_path)
    fill(log, range(60))
    append_erasures(log, [ADA])
    was = everything(log)[0]
    eraser = PROCESSES.Process(target=_erase_and_die, args=(tmp_path, point, at))
    eraser.start()
    eraser.join()
    assert eraser.exitcode == -signal.SIGKILL
    now = everything(opened(tmp_path))[0]
    assert len(now) == len(was)
    assert all(
        new == old or (new == Erasure(time=old.time) and of_user(old, ADA)) for old, new in zip(was, now, strict=True)
    )
    assert (now == was) == ((point == "frame written" and at <= 2) or (point == "segment written" and at == 1))
    fill(opened(tmp_path), [60], [BOB])
    UserEvents(opened(tmp_path), [ADA]).remove(opened(tmp_path))
    assert UserEvents(opened(tmp_path), [ADA]).count() == {ADA: 0}
    assert not list((tmp_path / "0").glob(".*"))


def test_a_reader_in_turns_gets_each_erasure_alone() -> None:
    log = MemoryLog()
    fill(log, range(3))
    append_erasures(log, [ADA, BOB])
    fill(log, range(3, 6))
    reader, found = LogReader(log, None, slack=0), []
    while (chunk := reader.read(1000)) is not None:
        found.append((chunk.events.num_rows, erased_users(chunk.events)))
    assert found == [(21, []), (1, [(0, ADA)]), (1, [(0, BOB)]), (21, [])]
