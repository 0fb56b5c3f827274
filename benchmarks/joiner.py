"""Joining: from the event log on disk to labelled impressions, on one core.

Ours reads a `FileLog` and joins in event time (duplicates, disorder and late events counted, memory bounded, state
that can be saved) into columns, which a feed encodes (`feed`: on to batches); `objects` makes an object of each. The
peer is a first attempt: `json.loads` of each line, a dict of open impressions, a queue of deadlines; it assumes that
events are in order and occur once. Both read the same events and must produce the same labels. An event has about 200
bytes of JSON on average. What the joiner takes of memory is measured over a longer stream, in a process of its own.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from benchmarks._joiner_memory import OPEN, mebibytes
from benchmarks.harness import Result, Target, interleave, median, ratio
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Event, Features, Impression, Interaction
from streaming.feed import STEP, Feed
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabeledImpression, LabelRule
from streaming.join.label_columns import LabelColumns
from streaming.log.event_log import EventLog
from streaming.log.file_log import FileLog
from streaming.log.merged_reader import LogReader

WAIT = 600_000
SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("device", "categorical", "request.device"),
        Field("country", "categorical", "request.country"),
        Field("age", "numeric", "request.age"),
        Field("hour", "categorical", "time.hour"),
        Field("item", "categorical", "item"),
    ]
)
Labels = dict[tuple[str, int], float]


def run(quick: bool) -> Result:
    count = 20_000 if quick else 200_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        log = _written(count, path, Path(folder) / "log")
        if _joined(log) != _joined_naively(path):
            raise RuntimeError("the two joins differ, so that their times say nothing")
        contenders = {
            "joiner": lambda: sum(map(len, _labels(log))),
            "objects": lambda: sum(1 for _ in _examples(log)),
            "naive": lambda: sum(1 for _ in _naive(path)),
            "feed": lambda: sum(len(batch) for batch in _batches(log)),
        }
        seconds = interleave(contenders, rounds=3 if quick else 7)
        size = path.stat().st_size
        log.close()
    taken = mebibytes(1_000_000 if quick else 20_000_000)
    rate = {name: count / median(rounds) for name, rounds in seconds.items()}
    targets = [
        Target("events joined per second and core, log to examples", rate["joiner"], 600_000),
        Target("times the naive join of JSON lines", ratio(seconds["naive"], seconds["joiner"]), 1.0),
        Target(f"MiB taken with {OPEN:,} impressions open, at most", max(taken), 256, "lower"),
        Target(
            "MiB at the end of 20 M events over those halfway", taken[-1] / taken[len(taken) // 2 - 1], 1.05, "lower"
        ),
    ]
    raw: dict[str, object] = {
        "seconds": seconds,
        "events": count,
        "bytes_per_event": size / count,
        "events_per_s": rate,
    }
    raw |= {"mebibytes": taken}
    return Result("joiner", targets, raw)


def _written(count: int, path: Path, folder: Path) -> FileLog:
    """The same events as JSON lines and as a log."""
    log = FileLog(folder, partitions=1)
    events = list(_events(count))
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    for start in range(0, count, 8192):
        log.append(encode_events(events[start : start + 8192]))
    return log


def _labels(log: EventLog) -> Iterator[LabelColumns]:
    """All labelled impressions of a log, read in the same steps as a feed reads."""
    joiner, reader = _joiner(), LogReader(log, None, slack=0)
    while (chunk := reader.read(STEP)) is not None:
        yield joiner.join(chunk.events)
    yield joiner.close()


def _examples(log: EventLog) -> Iterator[LabeledImpression]:
    """As objects."""
    return chain.from_iterable(labels.impressions() for labels in _labels(log))


def _joiner() -> Joiner:
    return Joiner(LabelRule(), wait=WAIT, lateness=1000)


def _batches(log: EventLog) -> Iterator[Any]:
    feed = Feed(log, _joiner(), EntityState(1), Encoder(SPEC), batch_size=1024)
    yield from feed.poll(1 << 60)
    yield from feed.finish()


def _events(count: int) -> Iterator[Event]:
    """Two impressions of five items for every click; a click comes up to five minutes after its impression."""
    chance = random.Random(0)
    time, clicks = 1_700_000_000_000, deque[Interaction]()
    for number in range(count):
        time += chance.randrange(100)
        if number % 3 == 2 and clicks and clicks[0].time <= time:
            yield clicks.popleft()
            continue
        id_, user = f"{chance.getrandbits(128):032x}", f"user-{chance.randrange(50_000)}"
        items = [f"item-{n}" for n in chance.sample(range(20_000), 5)]
        device, country = chance.choice(["mobile", "desktop"]), chance.choice(["DE", "BR"])
        features: Features = {"device": device, "country": country, "age": chance.randrange(90)}
        yield Impression(id=id_, time=time, user=user, items=items, features=features)
        if chance.random() < 0.5:
            clicked = chance.choice(items)
            clicks.append(Interaction(time=time + 60_000, impression=id_, item=clicked, id=f"{number:032x}"))


def _naive(path: Path) -> Iterator[tuple[dict[str, Any], list[int], list[float]]]:
    """(impression, positions, labels) of a log that is in order and has no duplicates."""
    waiting: dict[str, tuple[dict[str, Any], set[int]]] = {}
    deadlines: deque[tuple[int, str]] = deque()

    def close() -> Iterator[tuple[dict[str, Any], list[int], list[float]]]:
        impression, known = waiting.pop(deadlines.popleft()[1])
        positions = [position for position in range(len(impression["items"])) if position not in known]
        yield impression, positions, [0.0] * len(positions)

    with path.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            while deadlines and deadlines[0][0] < event["time"] - 1000:
                yield from close()
            if event["type"] == "impression":
                waiting[event["id"]] = (event, set())
                deadlines.append((event["time"] + WAIT, event["id"]))
            elif event["impression"] in waiting:
                impression, known = waiting[event["impression"]]
                position = impression["items"].index(event["item"])
                known.add(position)
                yield impression, [position], [1.0]
    while deadlines:
        yield from close()


def _joined(log: EventLog) -> Labels:
    return {
        (example.id, position): label
        for example in _examples(log)
        for position, label in zip(example.positions, example.labels, strict=True)
    }


def _joined_naively(path: Path) -> Labels:
    return {
        (impression["id"], position): label
        for impression, positions, labels in _naive(path)
        for position, label in zip(positions, labels, strict=True)
    }
