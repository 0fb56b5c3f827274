"""Producers whose clocks are wrong: what they send is refused or counted, and nobody else's labels change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import decode_lines, encode_events
from streaming.join.joiner import Joiner, LabelRule

NOW = 1_700_000_000_000
HOUR, YEARS = 3_600_000, 10 * 365 * 86_400_000


def visits(name: str, off: int = 0) -> list[Event]:
    """Lists of two, the first item clicked, by a producer whose clock is `off`."""
    times = range(NOW - 100_000, NOW, 1_000)
    lists = [Impression(id=f"{name} {time}", time=time + off, user=name, items=["a", "b"]) for time in times]
    clicks = [Interaction(time=time + 500 + off, impression=f"{name} {time}", item="a") for time in times]
    return [event for pair in zip(lists, clicks, strict=True) for event in pair]


def labels(events: list[Event]) -> tuple[list[Any], dict[str, int]]:
    """Those of the right producer as (id, labels, when known), and what was counted."""
    joiner = Joiner(LabelRule(), wait=10_000, lateness=1_000, labels="held")
    out = joiner.push(encode_events(events)) + joiner.flush()
    return [(one.id, list(one.labels), one.decided) for one in out if one.id.startswith("right")], joiner.counts


@pytest.mark.parametrize("off", [-HOUR, -YEARS])
def test_a_clock_that_is_slow(off: int) -> None:
    right, wrong = visits("right"), visits("wrong", off)
    together = right[:2] + [event for pair in zip(right[2:], wrong[2:], strict=True) for event in pair]
    alone, _ = labels(right)
    found, counts = labels(together)
    assert found == alone
    assert len(found) == 100
    assert (counts["late_impressions"], counts["late"]) == (99, 99)
    assert sum(counts.values()) == len(together)


@pytest.mark.parametrize("off", [HOUR, YEARS])
def test_a_clock_that_is_fast(off: int) -> None:
    mixed = [msgspec.json.encode(event) for event in [*visits("wrong", off), *visits("right")]]
    batch, rejects = decode_lines(mixed, NOW)
    assert len(rejects) == 200
    assert all("after the clock" in reject.reason for reject in rejects)
    joiner = Joiner(LabelRule(), wait=10_000, lateness=1_000, labels="held")
    out = joiner.push(batch) + joiner.flush()
    assert [(one.id, list(one.labels), one.decided) for one in out] == labels(visits("right"))[0]
