"""JSON lines into the event log: rate against plain `json` doing the same, and memory against the size of the input."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import _events
from benchmarks.harness import Result, Target, interleave, median, peak_memory, ratio
from streaming.ingest.dead_letters import DeadLetters
from streaming.ingest.formats.sources import JsonLines
from streaming.ingest.pipeline import Counts, Ingest
from streaming.log.file_log import FileLog

REQUIRED = {
    "impression": ("id", "time", "user", "items"),
    "interaction": ("time", "impression", "item"),
    "user": ("time", "user", "features"),
    "item": ("time", "item", "features"),
}


def ours(path: Path, folder: Path) -> Counts:
    """All that `recsys ingest` does: validate, find duplicates, write Arrow and dead letters, fsync."""
    ingest = Ingest(FileLog(folder / "log"), DeadLetters(folder / "dead.jsonl"), clock=lambda: _events.NOW)
    return ingest.run(JsonLines(path))


def peer(path: Path, folder: Path) -> Counts:
    """The obvious way: `json`, required fields, a set of known lines, a JSONL file; one fsync at the end."""
    folder.mkdir()
    accepted = duplicate = dead = 0
    known: set[Any] = set()
    with path.open("rb") as lines, (folder / "log.jsonl").open("wb") as log, (folder / "dead").open("wb") as refused:
        for line in lines:
            try:
                event = json.loads(line)
                if any(name not in event for name in REQUIRED[event["type"]]) or not isinstance(event["time"], int):
                    raise ValueError("a field is missing")
            except (ValueError, KeyError):
                refused.write(line)
                dead += 1
                continue
            key = event.get("id") or hash(line)
            if key in known:
                duplicate += 1
                continue
            known.add(key)
            log.write(line)
            accepted += 1
        log.flush()
        os.fsync(log.fileno())
    return Counts(accepted, duplicate, dead)


def in_new_folder(work: Callable[[Path, Path], Counts], path: Path) -> Counts:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        return work(path, Path(folder) / "run")


MEMORY = """
import sys, tempfile
from pathlib import Path
from benchmarks.ingest import in_new_folder, ours
in_new_folder(ours, Path(sys.argv[1]))
"""


def run(quick: bool) -> Result:
    count, rounds = (100_000, 3) if quick else (200_000, 9)
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.jsonl", Path(folder) / "large.jsonl"
        size = _events.write(small, count)
        _events.write(large, 10 * count)
        counts = {name: in_new_folder(work, small) for name, work in (("ours", ours), ("peer", peer))}
        if counts["ours"] != counts["peer"] or counts["ours"].read != count:
            raise RuntimeError(f"the two sides disagree: {counts}")
        contenders = {"ours": lambda: in_new_folder(ours, small), "peer": lambda: in_new_folder(peer, small)}
        seconds = interleave(contenders, rounds)
        peaks = {path.stem: peak_memory(MEMORY, str(path)) for path in (small, large)}
    rates = {name: count / median(times) for name, times in seconds.items()}
    targets = [
        Target("events/s a core (CPU time)", rates["ours"], 300_000),
        Target("times as fast as plain json", ratio(seconds["peer"], seconds["ours"]), 1.0),
        Target("MiB more at 10 times the input", (peaks["large"] - peaks["small"]) / 2**20, 16, "lower"),
    ]
    raw = {"events": count, "bytes_a_line": size / count, "mix": _events.MIX, "counts": counts["ours"].read}
    return Result("ingest", targets, raw | {"cpu_seconds": seconds, "rates": rates, "peak_bytes": peaks})
