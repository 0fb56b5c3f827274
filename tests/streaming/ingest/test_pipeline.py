"""Ingesting: every record ends as accepted, duplicate or dead, whatever happens, and nothing is there twice."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streaming.ingest.pipeline
from recsys.errors import IngestError, InvalidValueError
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import decode_lines, encode_events, to_events
from streaming.ingest.counts import Counts
from streaming.ingest.duplicates.fingerprint import fingerprints
from streaming.ingest.formats import sources
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.formats.sources import BEGIN, Batches, Block, JsonLines, Position, Source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.source_offsets import FILES, SourceOffsets
from streaming.log import durable_files
from streaming.log.event_log import Chunk, EventLog
from streaming.log.memory_log import MemoryLog
from tests.streaming.strategies import NOW, events


def click(i: int, **more: Any) -> bytes:
    row = {"type": "interaction", "time": i, "impression": f"r{i}", "item": "a"} | more
    return json.dumps(row).encode()


def ingester(tmp_path: Path, log: EventLog | None = None, window: int = 10_000, **arguments: Any) -> Ingest:
    """Its window is small: to commit the memory of the default one takes longer than most of these tests."""
    return Ingest(
        log or MemoryLog(), DeadLetters(tmp_path / "dead.jsonl"), window=window, clock=lambda: NOW, **arguments
    )


def stored(log: EventLog) -> list[Event]:
    return [e for p in range(log.partitions) for e in _stored(log, p)]


def _stored(log: EventLog, partition: int) -> list[Event]:
    found: list[Event] = []
    while (chunk := log.read(partition, len(found))).events.num_rows:
        found += to_events(chunk.events)
    return found


def test_each_record_is_accepted_duplicate_or_dead(tmp_path: Path) -> None:
    lines = [click(1), b"{", click(2), b"", click(1), click(3, value=float("nan")), click(2), b"\xff", click(4)]
    log, data = MemoryLog(), b"\n".join(lines)
    ingest = ingester(tmp_path, log)
    counts = ingest.run(JsonLines(io.BytesIO(data), name="in"))
    assert counts == Counts(accepted=3, duplicate=2, dead=3)
    assert counts.read == 8
    assert [event.time for event in stored(log)] == [1, 2, 4]
    letters = list(DeadLetters(tmp_path / "dead.jsonl").read())
    assert [(entry["source"], entry["line"]) for entry in letters] == [("in", 2), ("in", 6), ("in", 8)]
    assert [data[entry["byte"] :].split(b"\n")[0] for entry in letters] == [b"{", lines[5], b"\xff"]
    assert "value: NaN" in letters[1]["reason"]
    assert ingest.position == Position(10, len(data))


def clashes(rows: list[tuple[Event, int]]) -> int:
    """How many lines of events (two lines for fate 1) have the id of an earlier one of other content."""
    count, seen = 0, dict[tuple[type, str], tuple[bytes, bytes]]()
    for event, fate in rows:
        content, more = _content(event)
        before, with_more = seen.setdefault((type(event), event.id), (content, more)) if event.id else (content, more)
        if content != before or more not in (with_more, _content(BARE)[1]):
            count += 1 + fate
    return count


BARE = Impression(id="", time=0, user="", items=[])
_ANSWERED = ("features", "item_features", "scores", "propensities", "experiment", "arm", "model")


def _content(event: Event) -> tuple[bytes, bytes]:
    """What every client knows of an event, and what only the server knows of an impression that it answered with."""
    given = msgspec.structs.asdict(_without_minus_zero(event))
    values = {name: value for name, value in given.items() if value is not msgspec.UNSET}
    more = {name: values.pop(name) for name in _ANSWERED if isinstance(event, Impression)}
    encoder = msgspec.json.Encoder(order="deterministic")
    return encoder.encode(values), encoder.encode(more)


def _without_minus_zero(event: Event) -> Event:
    """Its `value` and `scores` as they compare."""
    if isinstance(event, Interaction):
        return msgspec.structs.replace(event, value=event.value + 0.0)
    return (
        msgspec.structs.replace(event, scores=[x + 0.0 for x in event.scores])
        if isinstance(event, Impression)
        else event
    )


@pytest.mark.slow
@given(st.lists(st.tuples(events, st.integers(0, 2)), max_size=20), st.integers(1, 3), st.integers(20, 400))
def test_counts_add_up_for_any_input(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Event, int]], partitions: int, read: int
) -> None:
    lines, log = [], MemoryLog(partitions)
    for event, fate in rows:
        line = msgspec.json.encode(event)
        lines += [[line], [line, line], [line[:-1]]][fate]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_BYTES", read)
        counts = ingester(tmp_path_factory.mktemp("x"), log).run(JsonLines(io.BytesIO(b"\n".join(lines))))
    assert counts.read == len(lines)
    assert counts.dead == sum(fate == 2 for _, fate in rows) + clashes([row for row in rows if row[1] < 2])
    assert counts.accepted == len(stored(log))
    good = [event for event, fate in rows if fate < 2]
    assert {e.id for e in stored(log)} == set(encode_events(good).column("id").to_pylist())


def test_ingesting_again_adds_nothing(tmp_path: Path) -> None:
    data, log = b"\n".join(click(i) for i in range(100)), MemoryLog()
    assert ingester(tmp_path, log).run(JsonLines(io.BytesIO(data))).accepted == 100
    again = ingester(tmp_path, log)
    assert again.run(JsonLines(io.BytesIO(data + b"\n" + click(100)))) == Counts(1, 100, 0)


def test_it_stops_between_blocks_and_goes_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 300)
    data, log, stop = b"\n".join(click(i) for i in range(50)), MemoryLog(), threading.Event()
    seen: list[int] = []

    def progress(counts: Counts, _: Position) -> None:
        seen.append(counts.read)
        if counts.read > 10:
            stop.set()

    first = ingester(tmp_path, log)
    counts = first.run(JsonLines(io.BytesIO(data)), progress=progress, stop=stop)
    assert 10 < counts.read < 50
    assert seen == sorted(seen)
    assert counts.read == seen[-1] == len(stored(log))
    rest = ingester(tmp_path, log).run(JsonLines(io.BytesIO(data)), start=first.position)
    assert rest == Counts(50 - counts.read, 0, 0)
    assert [event.time for event in stored(log)] == list(range(50))


class FailingLog(MemoryLog):
    """Refuses to append after a number of events."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.failures = 0

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        if self.end()[0] + events.num_rows > self.room:
            self.failures += 1
            raise OSError(28, "No space left on device")
        return super().append(events, partition)


class CountingLog(MemoryLog):
    """Counts the events that are read."""

    events_read = 0

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        chunk = super().read(partition, offset, max_events)
        self.events_read += chunk.events.num_rows
        return chunk


def test_the_tail_of_the_log_is_read_once_and_its_events_are_known(tmp_path: Path) -> None:
    log = CountingLog(2)
    for partition, first, count in ((0, 0, 100), (1, 1000, 5)):
        log.append(decode_lines([click(i, id=f"e{i}") for i in range(first, first + count)], NOW)[0], partition)
    ingest = ingester(tmp_path, log, window=20)
    assert log.events_read == 105
    again = [click(i, id=f"e{i}") for i in (5, *range(90, 100), *range(1000, 1005))]
    assert ingest.run(JsonLines(io.BytesIO(b"\n".join(again)))) == Counts(accepted=1, duplicate=15)


def test_a_full_log_ends_with_exact_counts_and_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 300)
    data, log = b"\n".join(click(i) if i % 7 else b"{" for i in range(50)), FailingLog(20)
    ingest = ingester(tmp_path, log)
    with pytest.raises(IngestError, match="No space left"):
        ingest.run(JsonLines(io.BytesIO(data)))
    assert log.failures == 1
    assert ingest.counts.accepted == len(stored(log)) <= 20
    log.room = 1000
    ingester(tmp_path, log).run(JsonLines(io.BytesIO(data)), start=ingest.position)
    assert [event.time for event in stored(log)] == [i for i in range(50) if i % 7]


def test_long_lines_are_dead_and_the_next_ones_are_not(tmp_path: Path) -> None:
    data = click(1) + b"\n" + click(2, id="x" * (10 << 20)) + b"\n" + click(3)
    counts = ingester(tmp_path).run(JsonLines(io.BytesIO(data)))
    assert counts == Counts(accepted=2, dead=1)
    (letter,) = DeadLetters(tmp_path / "dead.jsonl").read()
    assert letter["reason"] == "longer than 1048576 bytes"
    assert letter["truncated"]
    assert (tmp_path / "dead.jsonl").stat().st_size < 10_000


def test_partitions_keep_an_impression_and_its_interactions_together(tmp_path: Path) -> None:
    log = MemoryLog(4)
    lines = [msgspec.json.encode(Impression(f"r{i}", i, "u", ["a"])) for i in range(40)]
    counts = ingester(tmp_path, log).run(JsonLines(io.BytesIO(b"\n".join([*lines, *map(click, range(40))]))))
    assert counts.accepted == 80
    ends = log.end()
    assert all(ends)
    for partition in range(4):
        found = _stored(log, partition)
        shown = [event.id for event in found if isinstance(event, Impression)]
        assert shown == [event.impression for event in found if isinstance(event, Interaction)]


def test_tables_are_ingested_by_their_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,list,what\n1,r,a\nx,r,a\n1,r,a\n2,r\n")
    source = open_source(
        tmp_path / "a.csv", Mapping("interaction", {"time": "at", "impression": "list", "item": "what"})
    )
    log = MemoryLog()
    assert ingester(tmp_path, log).run(source) == Counts(1, 1, 2)
    reasons = [(entry["line"], entry["reason"]) for entry in DeadLetters(tmp_path / "dead.jsonl").read()]
    no_time = "time: 'x' in column 'at' is not a number of milliseconds (time_unit = \"ms\")"
    assert reasons == [(3, no_time), (5, "2 cells for 3 columns")]


def test_batches_of_an_importer_are_counted_alike(tmp_path: Path) -> None:
    log, shown = MemoryLog(), [Impression(f"r{i}", i, "u", ["a"]) for i in range(10)]
    ingest = ingester(tmp_path, log)
    assert ingest.run(Batches("x", [encode_events(shown[:6]), encode_events(shown[4:])])) == Counts(10, 2, 0)
    assert stored(log) == shown
    assert ingester(tmp_path, log).run(Batches("x", [encode_events(shown)])) == Counts(0, 10, 0)


def test_a_source_larger_than_the_window_is_not_ingested_twice(tmp_path: Path) -> None:
    path, log, marks = tmp_path / "a.jsonl", MemoryLog(), SourceOffsets(tmp_path / "marks")

    def ingest() -> Counts:
        return ingester(tmp_path, log, window=10, source_offsets=marks).run(JsonLines(path))

    path.write_bytes(b"".join(click(i) + b"\n" for i in range(100)) + b"{\n")
    assert ingest() == Counts(100, 0, 1)
    assert ingest() == Counts(0, 100, 1)  # and what was dead is no second dead letter
    with path.open("ab") as file:
        file.write(click(100) + b"\n" + click(101)[:20])
    assert ingest() == Counts(1, 100, 2)
    with path.open("ab") as file:  # the writer ends its line
        file.write(click(101)[20:] + b"\n")
    assert ingest() == Counts(1, 101, 1)
    assert [event.time for event in stored(log)] == list(range(102))
    assert [entry["line"] for entry in DeadLetters(tmp_path / "dead.jsonl").read()] == [101, 103]
    path.write_bytes(b"".join(click(i) + b"\n" for i in range(1000, 1100)))
    assert ingest() == Counts(100, 0, 0)  # the same name, but another file


def test_a_stopped_ingest_of_many_events_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 300)
    path, log, stop = tmp_path / "a.jsonl", MemoryLog(), threading.Event()
    path.write_bytes(b"\n".join(click(i) for i in range(200)))
    first = ingester(tmp_path, log, window=8, source_offsets=SourceOffsets(tmp_path / "marks"))
    first.run(JsonLines(path), progress=lambda counts, _: stop.set() if counts.read > 100 else None, stop=stop)
    read = first.counts.read
    assert 100 < read < 200
    again = ingester(tmp_path, log, window=8, source_offsets=SourceOffsets(tmp_path / "marks"))
    assert again.run(JsonLines(path)) == Counts(200 - read, read, 0)
    assert [event.time for event in stored(log)] == list(range(200))


def test_a_killed_ingest_of_many_events_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 300)
    path, log, marks = tmp_path / "a.jsonl", MemoryLog(), SourceOffsets(tmp_path / "marks")
    path.write_bytes(b"\n".join(click(i) for i in range(200)))

    class KilledError(BaseException):
        pass

    def kill(counts: Counts, _: Position) -> None:
        if counts.read > 150:
            raise KilledError

    with pytest.raises(KilledError):
        ingester(tmp_path, log, window=40, source_offsets=marks).run(JsonLines(path), progress=kill)
    counts = ingester(tmp_path, log, window=40, source_offsets=marks).run(JsonLines(path))
    assert counts.read == 200
    assert [event.time for event in stored(log)] == list(range(200))


def test_importers_and_tables_have_offsets_too(tmp_path: Path) -> None:
    log, marks = MemoryLog(), SourceOffsets(tmp_path / "marks")
    batches = [encode_events([Impression(f"r{i}", i, "u", ["a"])]) for i in range(50)]
    rows = {"at": list(range(50)), "list": ["r"] * 50, "what": ["a"] * 50}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    mapping = Mapping("interaction", {"time": "at", "impression": "list", "item": "what"})

    def ingest(source: Source) -> Counts:
        return ingester(tmp_path, log, window=5, source_offsets=marks).run(source)

    for counts in (Counts(50, 0, 0), Counts(0, 50, 0)):
        assert ingest(Batches("x", batches, identity="card")) == counts
        assert ingest(open_source(tmp_path / "a.parquet", mapping)) == counts
    assert ingest(Batches("x", batches[:3], identity="other")) == Counts(3, 0, 0)
    assert ingest(JsonLines(io.BytesIO(click(1000)), name="pipe")) == Counts(1, 0, 0)


def test_a_source_that_cannot_be_read_is_no_silent_end(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"\n".join(click(i) for i in range(1000)))[:-20])
    with pytest.raises(IngestError):
        ingester(tmp_path).run(JsonLines(tmp_path / "a.jsonl.gz"))


def test_a_file_that_became_shorter_is_read_anew(tmp_path: Path) -> None:
    path, log, marks = tmp_path / "a.jsonl", MemoryLog(), SourceOffsets(tmp_path / "marks")
    lines = [click(i) + b"\n" for i in range(2000)]
    for count, expected in ((2000, Counts(2000)), (1500, Counts(0, 1500))):
        path.write_bytes(b"".join(lines[:count]))
        assert path.stat().st_size > sources.IDENTITY_BYTES
        assert ingester(tmp_path, log, window=10_000, source_offsets=marks).run(JsonLines(path)) == expected


@pytest.mark.slow
def test_a_source_that_breaks_off_is_named_with_the_counts_so_far(tmp_path: Path) -> None:
    path, log = tmp_path / "a.jsonl.gz", MemoryLog()
    packed = gzip.compress(b"\n".join(click(i, id=str(hash(i * 7919) ** 3)) for i in range(50_000)))
    path.write_bytes(packed[: len(packed) // 2])
    ingest = ingester(tmp_path, log)
    with pytest.raises(IngestError, match=r"a\.jsonl\.gz, from line \d+ on: Truncated"):
        ingest.run(JsonLines(path))
    assert 0 < ingest.counts.accepted == log.end()[0] < 50_000


def test_text_that_is_no_time_is_shown_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,list,what\n2026-01-01,r,a\n")
    columns = {"time": "at", "impression": "list", "item": "what"}
    source = open_source(tmp_path / "a.csv", Mapping("interaction", columns, "s"))
    assert ingester(tmp_path).run(source) == Counts(dead=1)
    (letter,) = DeadLetters(tmp_path / "dead.jsonl").read()
    assert letter["raw"] == "2026-01-01,r,a"


def test_two_sources_of_one_ingest_go_in_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 300)
    log = MemoryLog()
    even = b"\n".join(click(i) for i in range(0, 200, 2))
    odd = b"\n".join(click(i) for i in range(1, 100, 2)) + b"\n{\n" + click(5)
    ingest = ingester(tmp_path, log)
    assert ingest.merge([JsonLines(io.BytesIO(odd), name="odd"), JsonLines(io.BytesIO(even), name="even")]) == Counts(
        150, 1, 1
    )
    assert [event.time for event in stored(log)] == [i for i in range(200) if i < 100 or i % 2 == 0]
    (letter,) = DeadLetters(tmp_path / "dead.jsonl").read()
    assert (letter["source"], letter["line"]) == ("odd", 51)
    assert dict(ingest.positions) == {"odd": Position(53, len(odd)), "even": Position(101, len(even))}


TIMES = st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=25)


@pytest.mark.slow
@given(
    st.lists(TIMES, min_size=1, max_size=4), st.integers(60, 400), st.integers(1, 3), st.booleans(), st.integers(1, 4)
)
def test_merged_sources_keep_every_record_once_however_often_they_are_stopped(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[tuple[int, bool]]],
    read: int,
    patience: int,
    in_order: bool,
    together: int,
) -> None:
    folder, log = tmp_path_factory.mktemp("x"), MemoryLog()
    files = [sorted(rows) if in_order else rows for rows in files]
    for f, rows in enumerate(files):
        lines = [
            click(t, id=f"{f}.{i}", impression=f"{f}") if good else b"{%d.%d" % (f, i)
            for i, (t, good) in enumerate(rows)
        ]
        (folder / f"{f}.jsonl").write_bytes(b"".join(line + b"\n\n" for line in lines))
    total = sum(map(len, files))

    def ingest() -> bool:
        """Whether it came to the end before it was stopped."""
        left, stop = iter(range(patience)), threading.Event()

        def progress(_counts: Counts, _at: Position) -> None:
            if next(left, None) is None:
                stop.set()

        # A window of one event knows nothing: only the offsets of sources tell what was read.
        one = ingester(folder, log, window=1, source_offsets=SourceOffsets(folder / "marks"))
        paths = [folder / f"{f}.jsonl" for f in range(len(files))]
        counts = one.merge([JsonLines(path) for path in paths], progress, stop)
        assert counts.accepted + counts.duplicate + counts.dead <= total
        return not stop.is_set() and counts.read == total

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_BYTES", read)
        patch.setattr(streaming.ingest.pipeline, "TOGETHER", together)
        while not ingest():
            pass
    found = [event for event in stored(log) if isinstance(event, Interaction)]
    good = {f"{f}.{i}" for f, rows in enumerate(files) for i, (_, good) in enumerate(rows) if good}
    assert sorted(event.id for event in found) == sorted(good)
    assert len(list(DeadLetters(folder / "dead.jsonl").read())) == total - len(good)
    if in_order:
        assert [event.time for event in found] == sorted(event.time for event in found)
    for f in range(len(files)):  # the order of a file stays
        own = [int(event.id.split(".")[1]) for event in found if event.impression == f"{f}"]
        assert own == sorted(own)


def test_a_full_log_leaves_merged_sources_where_they_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "READ_BYTES", 300)
    log, marks, paths = FailingLog(40), SourceOffsets(tmp_path / "marks"), [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for k, path in enumerate(paths):
        path.write_bytes(b"".join(click(i) + b"\n" for i in range(k, 200, k + 2)))

    def ingest() -> Counts:
        return ingester(tmp_path, log, window=20, source_offsets=marks).merge([JsonLines(path) for path in paths])

    with pytest.raises(IngestError, match=r"a\.jsonl, from line \d+ on; .*b\.jsonl, from line \d+ on: .*No space left"):
        ingest()
    assert log.failures == 1
    log.room = 1000
    ingest()
    times = [event.time for event in stored(log)]
    assert times == sorted(set(range(0, 200, 2)) | set(range(1, 200, 3)))


@pytest.mark.parametrize("partitions", [1, 3])
def test_events_that_come_after_much_newer_ones_are_counted(tmp_path: Path, partitions: int) -> None:
    log = MemoryLog(partitions)
    lines = [msgspec.json.encode(Impression(f"r{i}", i, "u", ["a"])) for i in range(1000)]
    first = ingester(tmp_path, log, slack=50)
    first.run(JsonLines(io.BytesIO(b"\n".join(lines))))
    assert first.late_events.count == 0
    again = ingester(tmp_path, log, slack=50)  # which looks at the tail of the log
    newest = [max(event.time for event in _stored(log, p)) for p in range(partitions)]
    again.run(JsonLines(io.BytesIO(b"\n".join(click(i) for i in range(1000)))))
    shown = {event.id: p for p in range(partitions) for event in _stored(log, p) if isinstance(event, Impression)}
    assert again.late_events.count == sum(i < newest[shown[f"r{i}"]] - 50 for i in range(1000)) > 900
    before = again.late_events.count
    again.run(JsonLines(io.BytesIO(b'{"type":"item","time":1,"item":"a","features":{}}')))
    assert again.late_events.count == before  # features hold until newer ones come


def test_many_files_of_consecutive_days_are_not_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming.ingest.pipeline, "HELD", 0)  # as if each were large
    paths, log = [tmp_path / f"{day}.jsonl" for day in range(40)], MemoryLog()
    for day, path in enumerate(paths):
        path.write_bytes(b"".join(click(day * 100 + i) + b"\n" for i in range(50)))
    open_at_once: list[int] = []

    class Watched(JsonLines):
        active = 0

        def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
            Watched.active += 1
            open_at_once.append(Watched.active)
            try:
                yield from super().blocks(start)
            finally:
                Watched.active -= 1

    ingester(tmp_path, log).merge([Watched(path) for path in reversed(paths)])
    assert [event.time for event in stored(log)] == [day * 100 + i for day in range(40) for i in range(50)]
    assert len(open_at_once) == 80  # once to look at the beginning
    assert max(open_at_once) <= 3


def test_another_event_with_a_known_id_is_refused_and_no_duplicate(tmp_path: Path) -> None:
    def shown(time: int, user: str, *items: str) -> bytes:
        event = {"type": "impression", "id": "s1", "time": time, "user": user, "items": items}
        return json.dumps(event).encode()

    lines = [shown(5, "u", "a", "b"), shown(5, "u", "a", "b"), shown(5, "u", "b", "a"), shown(6, "u", "a", "b")]
    lines += [shown(5, "v", "a", "b"), shown(5, "u", "a"), click(7, id="s1"), click(7, id="s1"), click(8, id="s1")]
    log, data = MemoryLog(), b"\n".join(lines)
    refused = [3, 4, 5, 6, 9]
    assert ingester(tmp_path, log).run(JsonLines(io.BytesIO(data), name="in")) == Counts(2, 2, 5)
    letters = list(DeadLetters(tmp_path / "dead.jsonl").read())
    assert [(entry["source"], entry["line"]) for entry in letters] == [("in", line) for line in refused]
    assert [json.loads(entry["raw"]) for entry in letters] == [json.loads(lines[line - 1]) for line in refused]
    assert letters[0]["reason"] == "id: another impression has this id, 's1', with other content"
    assert letters[0]["byte"] == data.index(lines[2])
    # and the log's end is known to the next one
    assert ingester(tmp_path, log).run(JsonLines(io.BytesIO(data))) == Counts(0, 4, 5)


_SHOWN: dict[str, Any] = {
    "type": "impression",
    "id": "s1",
    "time": 5,
    "user": "u",
    "items": ["a", "b"],
    "features": {"p": 1, "q": "x"},
    "item_features": {"r": [1, 2]},
    "scores": [0.5, 0.25],
    "propensities": [0.5, 1.0],
    "experiment": "e",
    "arm": "red",
    "model": "m",
}
_CLICKED = {"type": "interaction", "id": "c1", "time": 6, "impression": "s1", "item": "a", "action": "click"}
_UPDATED = {"type": "user", "id": "n1", "time": 7, "user": "u", "features": {"p": 1}}


@pytest.mark.parametrize(
    ("event", "change"),
    [
        (_SHOWN, {"features": {"p": 2, "q": "x"}}),
        (_SHOWN, {"features": {"p": 1}}),
        (_SHOWN, {"item_features": {"r": [2, 1]}}),
        (_SHOWN, {"item_features": {}}),
        (_SHOWN, {"scores": [0.25, 0.5]}),
        (_SHOWN, {"scores": []}),
        (_SHOWN, {"propensities": [1.0, 0.5]}),
        (_SHOWN, {"experiment": "f"}),
        (_SHOWN, {"arm": "blue"}),
        (_SHOWN, {"model": ""}),
        (_SHOWN, {"latency": 3.0}),
        (_SHOWN, {"degraded": ["rows"]}),
        (_CLICKED, {"action": "buy"}),
        (_CLICKED, {"impression": "s2"}),
        (_CLICKED, {"item": "b"}),
        (_CLICKED, {"value": 2.0}),
        (_UPDATED, {"features": {"p": 2}}),
        (_UPDATED | {"type": "item", "item": "a"}, {"features": {"p": True}}),
    ],
    ids=repr,
)
def test_whatever_differs_under_a_known_id_is_refused(
    tmp_path: Path, event: dict[str, Any], change: dict[str, Any]
) -> None:
    if event["type"] == "item":
        event = {name: value for name, value in event.items() if name != "user"}
    lines = [json.dumps(event).encode(), json.dumps(event | change).encode(), json.dumps(event).encode()]
    log = MemoryLog()
    assert ingester(tmp_path, log).run(JsonLines(io.BytesIO(b"\n".join(lines)))) == Counts(1, 1, 1)
    (letter,) = DeadLetters(tmp_path / "dead.jsonl").read()
    assert "with other content" in letter["reason"]
    assert letter["line"] == 2
    # and the same by what the log has, whoever wrote it
    assert ingester(tmp_path, log).run(JsonLines(io.BytesIO(b"\n".join(lines)))) == Counts(0, 2, 1)


def test_an_impression_may_come_again_without_what_only_the_server_knows(tmp_path: Path) -> None:
    bare = {name: _SHOWN[name] for name in ("type", "id", "time", "user", "items")}
    lines = [
        json.dumps(event).encode() for event in (_SHOWN, bare, bare | {"items": ["b", "a"]}, bare | {"arm": "red"})
    ]
    assert ingester(tmp_path).run(JsonLines(io.BytesIO(b"\n".join(lines)))) == Counts(1, 1, 2)
    measured = [json.dumps(event).encode() for event in (_SHOWN | {"latency": 2.5, "degraded": ["rows"]}, bare)]
    assert ingester(tmp_path).run(JsonLines(io.BytesIO(b"\n".join(measured)))) == Counts(1, 1, 0)
    # but what comes first without it is not taken for one with it, which would lose that
    assert ingester(tmp_path).run(JsonLines(io.BytesIO(b"\n".join(lines[1::-1])))) == Counts(1, 0, 1)


def test_the_order_of_names_is_no_other_content(tmp_path: Path) -> None:
    turned = {name: _SHOWN[name] for name in reversed(_SHOWN)} | {"features": {"q": "x", "p": 1}}
    data = b"\n".join(json.dumps(event).encode() for event in (_SHOWN, turned))
    assert ingester(tmp_path).run(JsonLines(io.BytesIO(data))) == Counts(1, 1, 0)


def test_by_columns_another_action_under_a_known_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("id,time,impression,item,action\nc1,5,r,a,click\nc1,5,r,a,buy\nc1,5,r2,a,click\nc1,5,r,a,click\n")
    columns = {name: name for name in ("id", "time", "impression", "item", "action")}
    source = open_source(path, Mapping("interaction", columns))
    assert ingester(tmp_path).run(source) == Counts(1, 1, 2)


@pytest.mark.slow
@given(st.lists(events, min_size=1, max_size=8))
def test_a_fingerprint_does_not_depend_on_the_other_events(found: list[Event]) -> None:
    together = fingerprints(encode_events(found))
    assert together.tolist() == [fingerprints(encode_events([event]))[0] for event in found]
    assert fingerprints(encode_events(found).slice(len(found) // 2)).tolist() == together[len(found) // 2 :].tolist()


def test_events_that_clash_between_merged_sources_are_counted_for_their_own(tmp_path: Path) -> None:
    paths, log, offsets = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], MemoryLog(), SourceOffsets(tmp_path / "marks")
    for k, path in enumerate(paths):
        path.write_bytes(b"".join(click(2 * i + k, id=f"e{i}") + b"\n" for i in range(50)) + b"{\n")

    def ingest() -> Counts:
        ingest = ingester(tmp_path, log, source_offsets=offsets)
        return ingest.merge([JsonLines(path) for path in paths])

    assert ingest() == ingest() + Counts(50, -50) == Counts(50, 0, 52)
    letters = [(entry["source"], entry["line"]) for entry in DeadLetters(tmp_path / "dead.jsonl").read()]
    assert sorted(letters) == [(str(paths[0]), 51), *((str(paths[1]), line) for line in range(1, 52))]


def test_many_small_sources_that_overlap_come_in_order_and_a_few_appends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended: list[int] = []
    append = MemoryLog.append

    def counted(self: MemoryLog, events: pa.RecordBatch, partition: int) -> Any:
        appended.append(events.num_rows)
        return append(self, events, partition)

    monkeypatch.setattr(MemoryLog, "append", counted)
    rows = [json.dumps({"type": "interaction", "time": i, "impression": f"r{i}", "item": "a"}) for i in range(900)]
    paths = [tmp_path / f"{n}.jsonl" for n in range(300)]
    for n, path in enumerate(paths):
        path.write_text("\n".join([*rows[n::300], "{", ""]))
    log, letters = MemoryLog(), DeadLetters(tmp_path / "dead")
    ingest = Ingest(log, letters, clock=lambda: NOW, slack=0)
    assert ingest.merge([JsonLines(path) for path in paths]) == Counts(900, 0, 300)
    assert [event.time for event in stored(log)] == list(range(900))
    assert appended == [900]
    assert [(entry["line"], entry["raw"]) for entry in letters.read()] == [(4, "{")] * 300


def test_events_that_come_at_one_go_are_appended_in_bounded_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming.ingest.pipeline, "MOST", 64)
    paths, log = [tmp_path / f"{n}.jsonl" for n in range(50)], MemoryLog()
    for n, path in enumerate(paths):
        path.write_bytes(b"".join(click(50 * i + n, id=f"{n}.{i}") + b"\n" for i in range(5)))
    appended: list[int] = []
    append = log.append

    def counted(events: pa.RecordBatch, partition: int) -> Any:
        appended.append(events.num_rows)
        return append(events, partition)

    monkeypatch.setattr(log, "append", counted)
    assert ingester(tmp_path, log).merge([JsonLines(path) for path in paths]) == Counts(250)
    assert appended == [64, 64, 64, 58]
    assert [event.time for event in stored(log)] == list(range(250))


def test_many_small_sources_are_read_once_and_their_offsets_saved_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, read = list[Path](), list[str]()
    replace, blocks = durable_files.replace, JsonLines.blocks

    def counted_replace(path: Path, data: bytes) -> None:
        written.append(path)
        replace(path, data)

    def counted_blocks(self: JsonLines, start: Position) -> Any:
        read.append(self.name)
        return blocks(self, start)

    monkeypatch.setattr(durable_files, "replace", counted_replace)
    monkeypatch.setattr(JsonLines, "blocks", counted_blocks)
    paths, log = [tmp_path / f"{n}.jsonl" for n in range(200)], MemoryLog()
    for n, path in enumerate(paths):
        path.write_bytes(click(n, id=f"a{n}") + b"\n" + click(n + 500, id=f"b{n}") + b"\n")

    def ingest(chosen: list[Path]) -> Counts:
        one = ingester(tmp_path, log, window=1, source_offsets=SourceOffsets(tmp_path / "offsets"))
        return one.merge([JsonLines(path) for path in chosen])

    assert ingest(paths) == Counts(400)
    assert sorted(read) == sorted(map(str, paths))
    assert 0 < len(written) == len(set(written)) <= FILES
    with paths[7].open("ab") as file:
        file.write(click(2000, id="c") + b"\n")
    assert ingest(paths) == Counts(1, 400)  # the window knows one event: their offsets tell
    assert ingest(paths[7:8]) == Counts(0, 3)
    assert ingest(paths[:7] + paths[8:]) == Counts(0, 398)  # saving one keeps the others


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("count", [9, streaming.ingest.pipeline.TOGETHER + 4])
def test_of_many_files_the_one_that_is_broken_is_named_and_the_others_are_read(
    tmp_path: Path, count: int, sort: bool
) -> None:
    paths = [tmp_path / f"{i:02}.jsonl.gz" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(gzip.compress(click(i) + b"\n"))
    paths[7].write_bytes(paths[7].read_bytes()[:-9])
    ingest, sources = ingester(tmp_path), [JsonLines(path) for path in paths]
    with pytest.raises(IngestError, match=r"^\S*07\.jsonl\.gz, from line 1 on: Truncated[^;]*$"):
        ingest.sort(sources, 1 << 20) if sort else ingest.merge(sources)
    assert ingest.counts == Counts(count - 1)


def test_of_many_files_that_have_no_room_the_first_are_named(tmp_path: Path) -> None:
    class Full(MemoryLog):
        def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
            raise OSError("No space left on device")

    paths = [tmp_path / f"{i:02}.jsonl" for i in range(streaming.ingest.pipeline.TOGETHER + 4)]
    for i, path in enumerate(paths):
        path.write_bytes(click(i) + b"\n")
    with pytest.raises(IngestError, match=r"02\.jsonl, from line 1 on; and 17 more: No space left"):
        ingester(tmp_path, Full()).merge([JsonLines(path) for path in paths])


def test_records_of_small_sources_that_are_decoded_together_keep_their_places(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.jsonl" for n in range(40)]
    for n, path in enumerate(paths):
        lines = [click(n, id=f"a{n}"), b"", b"{", click(n + 100, id=f"b{n}"), b"  "]
        path.write_bytes(b"\n".join(lines[n % 5 :] + lines[: n % 5]) + b"\n" * (n % 2))
    gzipped = tmp_path / "z.jsonl.gz"
    gzipped.write_bytes(gzip.compress(click(7, id="zip")))
    log, letters = MemoryLog(), DeadLetters(tmp_path / "dead")
    ingest = Ingest(log, letters, clock=lambda: NOW, slack=0)
    assert ingest.merge([JsonLines(path) for path in [*paths, gzipped]]) == Counts(81, 0, 40)
    ids = {event.id for event in stored(log)}
    assert ids == {"zip", *(f"{letter}{n}" for letter in "ab" for n in range(40))}
    found = {entry["source"]: (entry["line"], entry["raw"]) for entry in letters.read()}
    assert found == {str(path): ((2 - n) % 5 + 1, "{") for n, path in enumerate(paths)}


@pytest.mark.parametrize("files", [0, 20], ids=["alone", "beside many files"])
def test_a_pipe_is_read_once_as_it_comes(tmp_path: Path, files: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    paths = [tmp_path / f"{n}.jsonl" for n in range(files)]
    for n, path in enumerate(paths):
        path.write_bytes(click(n, id=f"a{n}") + b"\n")
    lines = b"".join(click(n, id=f"p{n}") + b"\n" for n in range(20_000))  # more than a pipe holds
    writer = threading.Thread(target=pipe.write_bytes, args=(lines,))
    writer.start()
    ingest = ingester(tmp_path, window=50_000)
    assert ingest.merge([*map(JsonLines, paths), JsonLines(pipe)]) == Counts(20_000 + files)
    writer.join()


def test_a_table_in_a_pipe_is_refused_because_it_is_looked_at_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(InvalidValueError, match="write it into a file"):
        open_source(tmp_path / "a.csv", Mapping("item", {"item": "i", "time": "t"}))


def test_small_sources_beyond_the_room_for_them_are_merged_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{n}.jsonl" for n in range(40)]
    for n, path in enumerate(paths):
        path.write_bytes(b"".join(click(100 * i + n, id=f"{n}.{i}") + b"\n" for i in range(5)) + b"{\n")
    found = []
    for number, room in enumerate((0, 3000, 1 << 30)):
        monkeypatch.setattr(streaming.ingest.pipeline, "HELD", room)
        folder, log = tmp_path / str(number), MemoryLog()
        folder.mkdir()
        assert ingester(folder, log).merge([JsonLines(path) for path in paths]) == Counts(200, 0, 40)
        letters = [(entry["source"], entry["line"]) for entry in DeadLetters(folder / "dead.jsonl").read()]
        found.append((stored(log), sorted(letters)))
    assert found[0] == found[1] == found[2]
    assert [event.time for event in found[0][0]] == [100 * i + n for i in range(5) for n in range(40)]
