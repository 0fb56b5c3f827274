"""Compile the kernels of joining and counting into Numba's cache: `python -m streaming.warm`."""

from __future__ import annotations

import sys
import time

from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.join.click_delays import ClickDelays
from streaming.join.joiner import Joiner
from streaming.join.labeled_impression import LabelRule
from streaming.windows.counter_layout import CounterLayout, RecordReader
from streaming.windows.counter_table import CounterTable
from streaming.windows.streamed_source import StreamedSource

HOUR = 3_600_000


def warm() -> float:
    """Run every kernel once; returns seconds (well under one when all were cached)."""
    begin = time.perf_counter()
    _join()
    _count()
    return time.perf_counter() - begin


def _join() -> None:
    joiner = Joiner(LabelRule(frozenset({"click"})), wait=HOUR, lateness=0)
    events: list[Event] = [
        Impression(id="1", time=0, user="u", items=["a"]),
        Interaction(time=1, impression="1", item="a", action="click"),
    ]
    joiner.push(encode_events(events))
    joiner.restore(joiner.state())
    joiner.skip(encode_events(events))
    joiner.forget("u")
    joiner.flush()
    delays = ClickDelays(HOUR)
    delays.shown(0, 1)
    delays.closed(1, [delays.bin(1)])


def _count() -> None:
    source = StreamedSource("user", "rate", "click", HOUR, "user.rate(click, 1h)")
    layout = CounterLayout.of("user", [source])
    table = CounterTable(layout, 1)
    table.add("u", "click", 0)
    table.read(["u"], layout.fields_K3([source]), 1)
    RecordReader(layout, [source]).values([None], 1)  # of servers, which read what cannot be written


if __name__ == "__main__":
    sys.stdout.write(f"compiled loops (kernels) of joining and counting ready in {warm():.1f} s\n")
