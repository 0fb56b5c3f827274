"""Logs of earlier releases stay readable: each folder in `frozen` is one, with its events beside it as JSON lines.

When events have more to say, `python -m tests.streaming.log.test_frozen_log v2` freezes a log of today; those that are
there stay as they are.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from streaming.events.schema import EVENT_SCHEMA, Erasure, Event, Impression, Interaction, ItemUpdate, ShadowScores
from streaming.events.schema import UserUpdate as User
from streaming.ingest.codec import encode_events, to_events
from streaming.log.event_log import read_partitions
from streaming.log.file_log import FileLog

FOLDER = Path(__file__).parent / "frozen"
VERSIONS = sorted(path.name for path in FOLDER.iterdir())
LINES = "events.jsonl"
EVENTS: list[Event] = [
    ItemUpdate(1, "i1", {"tags": ["hot", 7], "price": 2.5, "sold": True, "none": None}, id="a"),
    ItemUpdate(2, "i2", available=False, id="b"),
    User(3, "u1", {"country": "br", "ä": "ß"}, id="c"),
    Impression(
        "n1", 4, "u1", ["i1", "i2"], {"hour": 3}, {"price": [2.5, None]}, [0.25, 0.125], [0.5, 1.0], "ab", "new",
        "online@step-7", 12.5, ["rows", "features"],
    ),
    Impression("n2", 5, "u2", ["i2"]),
    ShadowScores(4, "n1", "u1", "wide@step-3", [0.1, 0.2], id="d"),
    Interaction(6, "n1", "i2", "buy", 9.9, id="e"),
    Erasure(7, "u2", id="f"),
]  # fmt: skip
"""Of every kind, with every field."""


def freeze(name: str) -> None:
    """Two frames, the second of which a restarted writer has appended."""
    folder = FOLDER / name
    for part in (EVENTS[:3], EVENTS[3:]):
        FileLog(folder).append(encode_events(part))
    (folder / LINES).write_bytes(b"\n".join(map(msgspec.json.encode, EVENTS)) + b"\n")
    for lock in folder.rglob("lock"):
        lock.unlink()


@pytest.fixture(params=VERSIONS)
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER / request.param, tmp_path / "log"))


def read(log: FileLog) -> list[Event]:
    return [event for partition in read_partitions(log) for chunk in partition for event in to_events(chunk.events)]


def test_a_log_of_an_earlier_release_is_read_and_gone_on_with(frozen: Path) -> None:
    events = [msgspec.json.decode(line, type=Event) for line in (frozen / LINES).read_bytes().splitlines()]
    assert {type(event) for event in events} == {type(event) for event in EVENTS}
    log = FileLog(frozen)
    assert read(log) == events
    more = [Interaction(8, "n2", "i2", id="g")]
    log.append(encode_events(more))
    assert read(FileLog(frozen)) == events + more


def test_the_newest_frozen_log_has_all_that_events_can_say() -> None:
    events = pa.Table.from_batches([encode_events(read(FileLog(FOLDER / VERSIONS[-1])))])
    empty = [name for name in EVENT_SCHEMA.names if events.column(name).null_count == len(events)]
    assert not empty, f"freeze a log that has {empty}: python -m tests.streaming.log.test_frozen_log v2"


if __name__ == "__main__":
    freeze(sys.argv[1])
