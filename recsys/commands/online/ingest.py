"""`recsys ingest`: files and public data sets into the event log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from recsys import wiring
from recsys.commands.options.iso_time import parse_time, written_time
from recsys.commands.output.refusals import show_reasons
from recsys.commands.output.terminal import plain_column, plain_console
from recsys.commands.stopping import STOPPED, stopping
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.datasets.card import Card
from recsys.datasets.holding import holding
from recsys.datasets.registry import DATASETS
from recsys.errors import BrokenSourceError, IngestError, InvalidValueError, file_errors
from recsys.ingest_doubts import doubts
from streaming.ingest.counts import Counts
from streaming.ingest.formats.sources import Batches, JsonLines, Source
from streaming.ingest.pipeline import Ingest

SHOWN_REASONS = 5


def run(
    path: Path, files: tuple[Path, ...], dataset: str | None, start: str | None, end: str | None, sort: bool = False
) -> None:
    config = load(path)
    console = plain_console()
    if dataset is None and not files:
        raise InvalidValueError("give the files to read (- for standard input), or a data set with --dataset")
    if dataset is not None and sort:
        raise InvalidValueError("--sort is for files; a data set is in the order of time already")
    sources = _sources(config, files, sort) if dataset is None else []
    imported = _imported(dataset, files, start, end) if dataset is not None else None
    log = wiring.event_log(config)  # a wrong name makes no log
    try:
        ingest = wiring.ingest(config, log)
        offsets = file_errors("how far the files were read", config.log.source_offsets, IngestError)
        with stopping() as stop, _shown(console) as show, offsets:
            if imported is not None:
                card, batches = imported
                console.print(_card(card))
                ingest.run(batches, progress=lambda counts, _: show(str(dataset), counts), stop=stop)
            else:
                name = files[0].name if len(files) == 1 else f"{len(files)} files"
                _read(ingest, sources, config.log.sort_memory if sort else None, partial(show, name), stop)
    except IngestError as error:
        _conclude(console, config, ingest)
        raise IngestError(f"{error}; the counted events are stored, {_remedy(error, len(files))}") from None
    finally:
        log.close()
    _conclude(console, config, ingest)
    if stop.is_set():
        where = " and ".join(f"line {at.line} of {name}" for name, at in ingest.positions)
        console.print(f"Stopped before {where}; run the same command again to continue.")
        sys.exit(STOPPED)
    if not ingest.counts.accepted + ingest.counts.duplicate:
        raise InvalidValueError("nothing was accepted")


def _remedy(error: IngestError, files: int) -> str:
    again = "run the same command again to continue"
    if not isinstance(error, BrokenSourceError):
        return again
    remedy = f"put a whole, readable copy in place of each file named here and {again}"
    if files > 1:
        remedy += (
            ". Where other files had newer events, those of a copy may come too late for the joiner, as is said then: "
            "ingest all files into a new log"
        )
    return remedy


def _read(
    ingest: Ingest, sources: list[Source], sort: int | None, show: Callable[[Counts], None], stop: threading.Event
) -> None:
    if sort is not None:
        ingest.sort(sources, sort, lambda counts, _: show(counts), stop)
    else:
        ingest.merge(sources, lambda counts, _: show(counts), stop)


def _conclude(console: Console, config: Config, ingest: Ingest) -> None:
    console.print(_summary(ingest.counts))
    if made := ingest.labels.in_words:  # a row of a table may be several events
        console.print(f"Accepted events: {made}", highlight=False)
    if ingest.counts.dead:
        console.print(f"Refused records, with position and reason: {config.log.dead_letters}")
        show_reasons(console, ingest.reasons.most_common(SHOWN_REASONS))
    if ingest.span is not None:
        oldest, newest = ingest.span
        console.print(f"Event times: {written_time(oldest)} to {written_time(newest)}")
    for doubt in doubts(ingest, config, time.time_ns() // 1_000_000):
        console.print(doubt, style="yellow", highlight=False)


Show = Callable[[str, Counts], None]


def _imported(name: str, files: tuple[Path, ...], start: str | None, end: str | None) -> tuple[Card, Batches]:
    """A public data set from `start` up to `end`, with its description."""
    importer = DATASETS[name]
    where = files[0] if files else importer.shipped
    if where is None:
        raise InvalidValueError(f"--dataset {name} needs the path of its files")
    low, high = (parse_time(text, option) if text else None for text, option in ((start, "--from"), (end, "--to")))
    with holding(name, where):
        data = importer.open(where)
    return data.card, Batches(f"{name} {where}", _between(iter(data), low, high), f"{start} {end} {data.card}")


def _card(card: Card) -> Table:
    table = Table(title=card.name, show_header=False, title_justify="left")
    for row in card.rows():
        table.add_row(*row)
    return table


def _sources(config: Config, files: Sequence[Path], sort: bool) -> list[Source]:
    pipe = [JsonLines(sys.stdin.buffer, config.log.max_line, "standard input")] if Path("-") in files else []
    return [*pipe, *wiring.file_sources(config, [file for file in files if file != Path("-")], sort=sort)]


def _between(batches: Iterator[pa.RecordBatch], low: int | None, high: int | None) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        kept = batch
        if low is not None:
            kept = kept.filter(pc.greater_equal(kept["time"], low))
        if high is not None:
            kept = kept.filter(pc.less(kept["time"], high))
        if kept.num_rows:
            yield kept


@contextmanager
def _shown(console: Console) -> Iterator[Show]:
    columns: list[Any] = [plain_column("{task.description}"), plain_column("{task.fields[state]}"), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", state="", total=None)
        started = time.monotonic()

        def show(name: str, counts: Counts) -> None:
            rate = counts.read / max(time.monotonic() - started, 1e-9)
            bar.update(task, description=name, state=f"{_summary(counts)} {rate:,.0f} events/s")

        yield show


def _summary(counts: Counts) -> str:
    parts = (("accepted", counts.accepted), ("duplicate", counts.duplicate), ("dead-lettered", counts.dead))
    return f"{counts.read:,} read = " + " + ".join(f"{count:,} {name}" for name, count in parts)
