"""Reads sources as pieces: valid events, and a dead letter for each refused record."""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.errors import IngestError
from streaming.events.columns import times
from streaming.ingest.codec import encode_events
from streaming.ingest.decoding import decode_events
from streaming.ingest.formats.sources import BEGIN, Block, Columns, Position, Source, Valid
from streaming.ingest.loose_json import strict
from streaming.ingest.ordering.merge_by_time import Piece
from streaming.ingest.refusals.dead_letters import DeadLetter
from streaming.ingest.validation import Rules

AnyBlock = Block | Valid | Columns
_TOGETHER: Final = 1 << 12
"""Records of small sources that are decoded together: what is set up for each call costs more than those of one."""


class PieceReader:
    """Decodes the blocks of sources under `rules`; `clock` returns milliseconds since the epoch."""

    def __init__(self, rules: Rules, clock: Callable[[], int]) -> None:
        self._rules = rules
        self._clock = clock

    def peek(self, starts: Sequence[tuple[Source, Position]], room: float) -> tuple[list[Iterator[Piece]], list[float]]:
        """The pieces of each source, and the oldest time in its first block: minus infinity for a source that is read
        only once, such as a pipe. Small sources are read here, and held while `room` bytes of them suffice.
        """
        streams, begins = [self.read(*start) for start in starts], [-math.inf] * len(starts)
        waiting: list[tuple[int, list[AnyBlock]]] = []
        records = 0

        def settle() -> None:
            named = [(starts[number][0].name, block) for number, blocks in waiting for block in blocks]
            pieces = iter(self._pieces(named))
            for number, blocks in waiting:
                held = list(islice(pieces, len(blocks)))
                begins[number] = _oldest(held)
                streams[number] = iter([*held[:-1], *(replace(piece, last_piece=True) for piece in held[-1:])])
            waiting.clear()

        with _uncollected():
            for number, (source, start) in enumerate(starts):
                if not source.identity(BEGIN):
                    continue
                blocks, size = _within(source, start, room)
                if size > room:
                    begins[number] = _oldest(self._pieces([(source.name, block) for block in blocks[:1]]))
                    continue
                room -= size
                waiting.append((number, blocks))
                records += sum(map(_records, blocks))
                if records >= _TOGETHER:
                    settle()
                    records = 0
            settle()
        return streams, begins

    def read(self, source: Source, start: Position) -> Iterator[Piece]:
        """The blocks of a source from `start` on. Raises IngestError, which says where, if it cannot be read."""
        place = start
        try:
            blocks: Iterator[AnyBlock] = source.blocks(start)
            while True:
                with _uncollected():
                    block = next(blocks, None)
                if block is None:
                    return
                place = block.end
                yield from self._pieces([(source.name, block)])
        except (OSError, pa.ArrowException) as error:
            raise IngestError(f"{source.name}, from line {place.line} on: {error}") from error

    def _pieces(self, blocks: Sequence[tuple[str, AnyBlock]]) -> list[Piece]:
        """Of blocks, each with the name of its source."""
        checked = [(source, self._checked(block)) for source, block in blocks]
        decoded = self._decode([(source, block) for source, block in checked if isinstance(block, Block)])
        return [next(decoded) if isinstance(block, Block) else _valid(block) for _, block in checked]

    def _checked(self, block: AnyBlock) -> AnyBlock:
        """Columns as lines, where some of their records may be refused."""
        if not isinstance(block, Columns):
            return block
        horizon = self._clock() + self._rules.max_future
        doubtful = block.longest > self._rules.max_line or int(times(block.events).max()) > horizon
        return block.lines() if doubtful else block

    def _decode(self, blocks: Sequence[tuple[str, Block]]) -> Iterator[Piece]:
        """The pieces of blocks, which are decoded together."""
        lines = blocks[0][1].lines if len(blocks) == 1 else list(chain.from_iterable(one.lines for _, one in blocks))
        with _uncollected():
            decoded, rejects = decode_events(lines, self._clock(), self._rules, strict)
            events = encode_events(decoded)
            del decoded
        blank = len(lines) != events.num_rows + len(rejects) + sum(len(block.faults) for _, block in blocks)
        refused, first, seen = deque(rejects), 0, 0
        for source, block in blocks:
            reasons = dict(block.faults)
            while refused and refused[0].line < first + len(block.lines):
                reject = refused.popleft()
                reasons[reject.line - first] = reject.reason
            records_N = _records_of(block, reasons, blank)
            yield _piece(source, block, reasons, events.slice(seen, len(records_N)), records_N)
            first, seen = first + len(block.lines), seen + len(records_N)


def _within(source: Source, start: Position, room: float) -> tuple[list[AnyBlock], float]:
    """The blocks of a source and their bytes, up to one more than `room`; infinitely many of a source that breaks off,
    which is for `read` to report.
    """
    blocks: list[AnyBlock] = []
    size = 0.0
    try:
        for block in source.blocks(start):
            blocks.append(block)
            size += sum(map(len, block.lines)) if isinstance(block, Block) else block.events.nbytes
            if size > room:
                break
    except (OSError, pa.ArrowException):
        return blocks, math.inf
    return blocks, size


def _records(block: AnyBlock) -> int:
    return len(block.lines) if isinstance(block, Block) else block.events.num_rows


def _oldest(pieces: Sequence[Piece]) -> float:
    """The oldest time in the first piece; minus infinity if it has none."""
    return float(times(pieces[0].events).min()) if pieces and pieces[0].events.num_rows else -math.inf


def _piece(
    source: str, block: Block, reasons: Mapping[int, str], events: pa.RecordBatch, records_N: npt.NDArray[np.int64]
) -> Piece:
    refused = sorted(reasons)
    letters = []
    for i in refused:
        at = block.position(i)
        letters.append(DeadLetter(source, at.line, at.byte, reasons[i], block.raw(i)))
    return Piece(events, letters, block.end, block.position, records_N, refused, block.ended, block.divisible)


def _valid(block: Valid | Columns) -> Piece:
    count = block.events.num_rows
    first = block.end.line - count
    position = block.position if isinstance(block, Columns) else lambda i: Position(first + i)
    return Piece(block.events, [], block.end, position, np.arange(count), [], block.ended)


def _records_of(block: Block, refused: Mapping[int, str], blank: bool) -> npt.NDArray[np.int64]:
    """Numbers of the records that became events: neither refused nor blank, which some may be."""
    if not refused and not blank:
        return np.arange(len(block.lines))
    event_R = np.ones(len(block.lines), np.bool_)
    event_R[list(refused)] = False
    if blank:
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
