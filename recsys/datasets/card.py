"""A data set: batches of events in event-time order, and a card that describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Card:
    """Describes a data set. `start` and `end` are the first and last event time (ms); `made` lists what rules added."""

    name: str
    what: str
    made: tuple[str, ...]
    counts: dict[str, int]
    start: int
    end: int
    licence: str

    def rows(self) -> list[tuple[str, str]]:
        """Label and text of each line to show."""
        span = " to ".join(_date(time) for time in (self.start, self.end))
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        rules = [("made by rule", rule) for rule in self.made]
        return [("what", self.what), ("time", span), ("counts", counts), *rules, ("licence", self.licence)]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"  {name}: {text}" for name, text in self.rows())])


def _date(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Iterating yields batches (EVENT_SCHEMA); every iteration yields the same events."""

    card: Card
    batches: Callable[[], Iterator[pa.RecordBatch]]

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.batches()
