"""Several sources as one stream in the order of event time.

Shape suffixes: N events of a piece, M events of the pieces that go into the log together.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import times
from streaming.ingest.dead_letters import DeadLetter
from streaming.ingest.formats.sources import Position


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive records of a source: its events in order, and the refused ones."""

    events: pa.RecordBatch
    letters: list[DeadLetter]
    end: Position
    position: Callable[[int], Position]
    """Position of a record, by its number."""
    records_N: npt.NDArray[np.int64]
    """Record number of each event."""
    refused: list[int]
    """Record number of each letter."""
    ended: bool = True
    divisible: bool = True
    """See `Block`."""

    @property
    def reached(self) -> npt.NDArray[np.int64]:
        """The newest time up to each event. Sources are merged by it, so that the order within a source is kept."""
        return np.maximum.accumulate(times(self.events))

    @property
    def last(self) -> float:
        """The newest time in it; minus infinity without events."""
        return float(times(self.events).max()) if self.events.num_rows else -math.inf

    def until(self, limit: float) -> tuple[Piece | None, Piece | None]:
        """What comes before the first event later than `limit`, and the rest; None for nothing."""
        if self.last <= limit:
            return self, None
        count = int(np.searchsorted(self.reached, limit, "right"))
        if not count:
            return None, self
        record = int(self.records_N[count])
        place = self.position(record)
        letters = bisect_left(self.refused, record)
        first = Piece(
            self.events.slice(0, count),
            self.letters[:letters],
            place,
            self.position,
            self.records_N[:count],
            self.refused[:letters],
            self.divisible and place != self.position(record - 1),
            self.divisible,
        )
        rest = replace(
            self,
            events=self.events.slice(count),
            letters=self.letters[letters:],
            records_N=self.records_N[count:],
            refused=self.refused[letters:],
        )
        return first, rest


def merged(streams: Sequence[Iterator[Piece]], begins: Sequence[float] | None = None) -> Iterator[dict[int, Piece]]:
    """The pieces to append next, by the number of the source. Holds one piece of each source that it reads.

    Takes from every source what is not later than the smallest last time among those that may have more. A source
    that is roughly in the order of time is merged exactly; one that is not loses nothing, and keeps its own order.
    A source is first read when the others come to its time in `begins`, so that a year of daily files is not held at
    once; without `begins` at once.
    """
    asleep = deque(sorted((begin, number) for number, begin in enumerate(begins or [-math.inf] * len(streams))))
    unread, held = dict[int, Iterator[Piece]](), dict[int, Piece]()
    while asleep or held or unread:
        _refill(held, unread)
        limit = min((held[number].last for number in unread), default=math.inf)
        if asleep and (asleep[0][0] <= limit or not held):
            number = asleep.popleft()[1]
            unread[number] = streams[number]
            continue
        cuts = {number: held[number].until(limit) for number in sorted(held)}
        held = {number: rest for number, (_, rest) in cuts.items() if rest is not None}
        if taken := {number: first for number, (first, _) in cuts.items() if first is not None}:
            yield taken


def _refill(held: dict[int, Piece], unread: dict[int, Iterator[Piece]]) -> None:
    """Read the next piece of each source without one; remove sources at their end from `unread`."""
    for number in [number for number in unread if number not in held]:
        piece = next(unread[number], None)
        if piece is None:
            del unread[number]
        else:
            held[number] = piece


def interleaved(pieces: Sequence[Piece]) -> tuple[pa.RecordBatch, npt.NDArray[np.intp]]:
    """The events of one or more pieces in the order of time, and the number of each among all of them one after the
    other. At the same time those of the first piece come first.
    """
    full = [piece for piece in pieces if piece.events.num_rows] or pieces[:1]
    if len(full) == 1:
        return full[0].events, np.arange(full[0].events.num_rows)
    order_M = np.argsort(np.concatenate([piece.reached for piece in full]), kind="stable")
    return pa.concat_batches([piece.events for piece in full]).take(pa.array(order_M)), order_M
