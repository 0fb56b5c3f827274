"""What the joiner keeps does not grow with the stream, whatever the stream."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabelRule
from tests.streaming.fixed_age import FixedAge

WAIT, LATENESS = 100_000, 1000


def nearly_late(n: int) -> list[Event]:
    """Impressions whose windows close with the next event, long before their silence is due."""
    clock = 1_000_000 + n
    return [Impression(id=f"{n}", time=clock - WAIT - LATENESS, user="u", items=["x"])]


def standing_still(n: int) -> list[Event]:
    """A click that comes before its impression, while another waits for one that never comes."""
    click = Interaction(time=1_000_000, impression=f"{n}", item="x")
    first = [Interaction(time=1_000_000, impression="never", item="x")] if n == 0 else []
    return [*first, click, Impression(id=f"{n}", time=1_000_000, user="u", items=["x"])]


def full(n: int) -> list[Event]:
    """Impressions that close early, since too many wait."""
    return [Impression(id=f"{n}", time=1_000_000 + n, user="u", items=["x"])]


@pytest.mark.slow
@pytest.mark.parametrize("stream", [nearly_late, standing_still, full])
def test_six_times_the_events_take_no_more_memory(stream: Callable[[int], list[Event]]) -> None:
    joiner = Joiner(LabelRule(), WAIT, LATENESS, max_pending=300, delays=FixedAge(WAIT))
    joiner.push(encode_events([Interaction(time=1_000_000, impression="clock", item="x", action="view")]))

    def push(numbers: range) -> int:
        for start in range(numbers.start, numbers.stop, 100):
            batch = [event for n in range(start, start + 100) for event in stream(n)]
            clock = Interaction(time=1_000_000 + start, impression="clock", item="x", action="view")
            joiner.push(encode_events([*batch, clock] if stream is nearly_late else batch))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = push(range(500))
        after = push(range(500, 3_000))
    finally:
        tracemalloc.stop()
    assert joiner.counts["impressions"] == 3_000
    assert joiner.tallies["closed"] + joiner.tallies["closed_early"] >= 2_700
    assert after < before + 200_000
