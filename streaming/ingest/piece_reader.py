"""Reads sources as pieces: valid events, and a dead letter for each refused record."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import times
from streaming.ingest.codec import decode_events, encode_events
from streaming.ingest.formats.sources import BEGIN, Block, Columns, Position, Source, Valid
from streaming.ingest.loose_json import strict
from streaming.ingest.ordering.merge_by_time import Piece
from streaming.ingest.refusals.dead_letters import DeadLetter
from streaming.ingest.validation import Rules


class PieceReader:
    """Decodes the blocks of sources under `rules`; `clock` returns milliseconds since the epoch."""

    def __init__(self, rules: Rules, clock: Callable[[], int]) -> None:
        self._rules = rules
        self._clock = clock

    def peek(self, starts: Sequence[tuple[Source, Position]], room: int) -> tuple[list[Iterator[Piece]], list[float]]:
        """The pieces of each source, and the oldest time in its first block: minus infinity for a source that is read
        only once, such as a pipe. Small sources are read here, and held while `room` bytes of events suffice.
        """
        streams, begins = list[Iterator[Piece]](), list[float]()
        with _uncollected():
            for source, start in starts:
                begin, held = self._first(source, start, room)
                room -= sum(piece.events.nbytes for piece in held or ())
                begins.append(begin)
                streams.append(self.read(source, start) if held is None else iter(held))
        return streams, begins

    def _first(self, source: Source, start: Position, room: int) -> tuple[float, list[Piece] | None]:
        """The oldest time in the first block, and all pieces of a source that ends within `room` bytes of events. A
        source that breaks off is for `read` to report.
        """
        if not source.identity(BEGIN):
            return -math.inf, None
        held: list[Piece] = []
        try:
            for piece in self.read(source, start):
                held.append(piece)
                room -= piece.events.nbytes
                if room < 0:
                    break
        except (OSError, pa.ArrowException):
            room = -1
        first = float(times(held[0].events).min()) if held and held[0].events.num_rows else -math.inf
        if room < 0:
            return first, None
        return first, [*held[:-1], *(replace(piece, last_piece=True) for piece in held[-1:])]

    def read(self, source: Source, start: Position) -> Iterator[Piece]:
        """The blocks of a source from `start` on. Raises OSError or pyarrow's ArrowException if it cannot be read."""
        blocks: Iterator[Block | Valid | Columns] = source.blocks(start)
        while True:
            with _uncollected():
                block = next(blocks, None)
            if block is None:
                return
            yield self._piece(source.name, block)

    def _piece(self, source: str, block: Block | Valid | Columns) -> Piece:
        if isinstance(block, Valid):
            return _valid(block)
        if isinstance(block, Block):
            return self._decode(source, block)
        horizon = self._clock() + self._rules.max_future
        if block.longest > self._rules.max_line or int(times(block.events).max()) > horizon:
            return self._decode(source, block.lines())
        records_N = np.arange(block.events.num_rows)
        return Piece(block.events, [], block.end, block.position, records_N, [], block.ended)

    def _decode(self, source: str, block: Block) -> Piece:
        with _uncollected():
            decoded, rejects = decode_events(block.lines, self._clock(), self._rules, strict)
            events = encode_events(decoded)
            del decoded
        reasons = dict(block.faults) | {reject.line: reject.reason for reject in rejects}
        refused = sorted(reasons)
        letters = []
        for i in refused:
            at = block.position(i)
            letters.append(DeadLetter(source, at.line, at.byte, reasons[i], block.raw(i)))
        records_N = _records(block, refused, events.num_rows)
        return Piece(events, letters, block.end, block.position, records_N, refused, block.ended, block.divisible)


def _valid(block: Valid) -> Piece:
    count = block.events.num_rows
    first = block.end.line - count
    records_N = np.arange(count)
    return Piece(block.events, [], block.end, lambda i: Position(first + i), records_N, [], block.ended)


def _records(block: Block, refused: list[int], count: int) -> npt.NDArray[np.int64]:
    """Numbers of the records that became the `count` events: neither refused nor blank."""
    event_R = np.ones(len(block.lines), np.bool_)
    event_R[refused] = False
    if np.count_nonzero(event_R) != count:
        event_R[[i for i, line in enumerate(block.lines) if not line.strip()]] = False
    return np.flatnonzero(event_R)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector for a block: its events are many short-lived objects without cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
