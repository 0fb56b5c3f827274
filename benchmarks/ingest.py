"""JSON lines and tables into the event log: rate, also against plain `json`, and memory against size."""

from __future__ import annotations

import csv
import json
import os
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import _events
from benchmarks.harness import Result, Target, interleave, median, peak_memory, ratio
from streaming.ingest.counts import Counts
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.formats.sources import JsonLines
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.log.file_log import FileLog

REQUIRED = {
    "impression": ("id", "time", "user", "items"),
    "interaction": ("time", "impression", "item"),
    "user": ("time", "user", "features"),
    "item": ("time", "item", "features"),
}


def ours(path: Path, folder: Path, window: int = 1_000_000) -> Counts:
    """All that `recsys ingest` does: validate, find duplicates, write Arrow and dead letters, fsync."""
    return _ingest(folder, window).run(JsonLines(path))


def _ingest(folder: Path, window: int) -> Ingest:
    return Ingest(FileLog(folder / "log"), DeadLetters(folder / "dead.jsonl"), window=window, clock=lambda: _events.NOW)


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


COLUMNS = {"time": "at", "impression": "request", "item": "product", "action": "what", "id": "click"}


def write_tables(folder: Path, count: int) -> list[Path]:
    """The same clicks as CSV (plain, quoted), TSV, Parquet and JSON lines of another schema."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    rows = [
        (
            str(_events.NOW + i),
            f"req-{i // 4:012x}",
            f"item-{rng.randrange(100_000):06d}",
            "click",
            f"{rng.getrandbits(64):016x}",
        )
        for i in range(count)
    ]
    names = list(COLUMNS.values())
    for name, delimiter, quoted in (("plain.csv", ",", False), ("quoted.csv", ",", True), ("a.tsv", "\t", False)):
        quoting: Literal[1, 3] = csv.QUOTE_ALL if quoted else csv.QUOTE_NONE
        with (folder / name).open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows([names, *rows])
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    pq.write_table(table, folder / "a.parquet", row_group_size=GROUP)
    lines = (json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    (folder / "mapped.jsonl").write_text("".join(lines))
    return [folder / name for name in ("plain.csv", "quoted.csv", "a.tsv", "a.parquet", "mapped.jsonl")]


def ours_mapped(path: Path, folder: Path, window: int = 1_000_000) -> Counts:
    """As `ours`, by a mapping of columns."""
    return _ingest(folder, window).run(open_source(path, Mapping("interaction", COLUMNS)))


def in_new_folder(work: Callable[[Path, Path], Counts], path: Path) -> Counts:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        return work(path, Path(folder) / "run")


GROUP = 100_000
"""Rows of a group in Parquet, of which a part is held: files of one group would be compared by its size."""
FULL = 4
"""So many times the rows of a timed run fill what is read ahead."""
MEMORY = """
import sys, tempfile
from functools import partial
from pathlib import Path
from benchmarks.ingest import in_new_folder, ours, ours_mapped
path = Path(sys.argv[1])
in_new_folder(partial(ours_mapped if path.parent.name == "tables" else ours, window=100_000), path)
"""
"""With a window of ids that both sizes fill: what it takes is a setting, and not the size of the file."""


def _grown(folder: Path, count: int) -> dict[str, int]:
    """Bytes that a table of five times the rows takes more, by table."""
    full, more = (write_tables(folder / str(n) / "tables", n * count) for n in (FULL, 5 * FULL))
    return {
        one.name: peak_memory(MEMORY, str(five)) - peak_memory(MEMORY, str(one))
        for one, five in zip(full, more, strict=True)
    }


def run(quick: bool) -> Result:
    """50,000 events when quick, and no memory of tables; else 200,000, and tables of four million rows."""
    count, rounds = (50_000, 3) if quick else (200_000, 9)
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
        tables = write_tables(Path(folder) / "tables", count)
        grown = {} if quick else _grown(Path(folder), count)
        seconds |= interleave({path.name: partial(in_new_folder, ours_mapped, path) for path in tables}, rounds)
    rates = {name: count / median(times) for name, times in seconds.items()}
    targets = [
        Target("events/s a core (CPU time)", rates["ours"], 300_000),
        Target("times as fast as plain json", ratio(seconds["peer"], seconds["ours"]), 1.0),
        Target("MiB more at 10 times the input", (peaks["large"] - peaks["small"]) / 2**20, 16, "lower"),
    ]
    targets += [Target(f"{path.name}: events/s a core (CPU time)", rates[path.name], 250_000) for path in tables]
    targets += [Target(f"{name}: MiB more at 5 times the input", n / 2**20, 16, "lower") for name, n in grown.items()]
    raw = {"events": count, "bytes_a_line": size / count, "mix": _events.MIX, "counts": counts["ours"].read}
    return Result("ingest", targets, raw | {"cpu_seconds": seconds, "rates": rates, "peak_bytes": peaks})
