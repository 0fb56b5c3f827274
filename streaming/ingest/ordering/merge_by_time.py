"""Several sources as one stream in the order of event time.

Shape suffixes: N events of a piece, M events of the pieces that go into the log together.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import times
from streaming.ingest.formats.sources import Position
from streaming.ingest.refusals.dead_letters import DeadLetter


@dataclass(frozen=True)
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
    last_piece: bool = False
    """Whether the source is known to have no more, so that nothing waits for it."""

    @cached_property
    def reached(self) -> npt.NDArray[np.int64]:
        """The newest time up to each event. Sources are merged by it, so that the order within a source is kept."""
        return np.maximum.accumulate(times(self.events))

    @property
    def first(self) -> float:
        """The time of its first event; minus infinity without events."""
        return float(self.reached[0]) if len(self.reached) else -math.inf

    @property
    def last(self) -> float:
        """The newest time in it; minus infinity without events."""
        return float(self.reached[-1]) if len(self.reached) else -math.inf

    def until(self, limit: float) -> tuple[Piece | None, Piece | None]:
        """The part before the first event later than `limit`, and the rest; None for an empty one."""
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


def merged(
    streams: Sequence[Iterator[Piece]], begins: Sequence[float] | None = None, least: int = 0
) -> Iterator[dict[int, Piece]]:
    """The pieces to append next, by the number of the source. Holds one piece of each source that it reads.

    Takes from every source what is not later than the smallest last time among those that may have more. A source
    that is roughly in the order of time is merged exactly; one that is not loses nothing, and keeps its own order.
    Sources whose last pieces are known are merged at one go.
    A source is first read when the others come to its time in `begins`, so that a year of daily files is not held at
    once; without `begins` at once. At least `least` events come together, except at the end: many small sources give
    a few events at a time.
    """
    found: dict[int, list[Piece]] = {}
    count = 0
    for taken in _rounds(streams, begins):
        for number, piece in taken.items():
            found.setdefault(number, []).append(piece)
            count += piece.events.num_rows
        if count >= least:
            yield {number: _joined(found[number]) for number in sorted(found)}
            found, count = {}, 0
    if found:
        yield {number: _joined(found[number]) for number in sorted(found)}


def _rounds(streams: Sequence[Iterator[Piece]], begins: Sequence[float] | None) -> Iterator[dict[int, Piece]]:
    """What comes before the next limit, by the number of the source. Costs time for these only."""
    asleep = deque(sorted((begin, number) for number, begin in enumerate(begins or [-math.inf] * len(streams))))
    held = dict[int, Piece]()
    firsts, lasts = list[tuple[float, int]](), list[tuple[float, int]]()  # heaps of held and of unread sources

    def refill(number: int) -> None:
        if (piece := next(streams[number], None)) is not None:
            held[number] = piece
            heappush(firsts, (piece.first, number))
            if not piece.last_piece:
                heappush(lasts, (piece.last, number))

    while asleep or held:
        limit = lasts[0][0] if lasts else math.inf
        if asleep and (asleep[0][0] <= limit or not held):
            refill(asleep.popleft()[1])
            continue
        taken: dict[int, Piece] = {}
        while firsts and firsts[0][0] <= limit:
            number = heappop(firsts)[1]
            first, rest = held.pop(number).until(limit)
            if first is not None:
                taken[number] = first
            if rest is not None:
                held[number] = rest
                heappush(firsts, (rest.first, number))
        if taken:
            yield taken
        ended = list[int]()  # taken whole
        while lasts and lasts[0][0] <= limit:
            ended.append(heappop(lasts)[1])
        for number in ended:
            refill(number)


def _joined(pieces: Sequence[Piece]) -> Piece:
    """Consecutive pieces of one source as one."""
    if len(pieces) == 1:
        return pieces[0]
    numbered = list(enumerate(pieces))
    return replace(
        pieces[-1],
        events=pa.concat_batches([piece.events for piece in pieces]),
        letters=[letter for piece in pieces for letter in piece.letters],
        position=lambda i: pieces[i >> _BITS].position(i & (1 << _BITS) - 1),
        records_N=np.concatenate([piece.records_N + (n << _BITS) for n, piece in numbered]),
        refused=[i + (n << _BITS) for n, piece in numbered for i in piece.refused],
    )


_BITS: Final = 32
"""Bits for a record's number in its piece; the bits above number the piece."""


def interleaved(pieces: Sequence[Piece]) -> tuple[pa.RecordBatch, npt.NDArray[np.intp]]:
    """The events of one or more pieces in order of time, and the number of each in their concatenation. At equal times
    earlier pieces come first.
    """
    full = [piece for piece in pieces if piece.events.num_rows] or pieces[:1]
    if len(full) == 1:
        return full[0].events, np.arange(full[0].events.num_rows)
    order_M = np.argsort(np.concatenate([piece.reached for piece in full]), kind="stable")
    return pa.concat_batches([piece.events for piece in full]).take(pa.array(order_M)), order_M
