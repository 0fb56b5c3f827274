"""From the log to batches of exactly the same size, and back to the same place after a crash.

Shape suffixes: E examples, P partitions of the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from streaming.encode.batch import TrainingBatch
from streaming.encode.encoded_rows import EncodedRows, Packed, pack, unpack
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.events.columns import ITEM
from streaming.join.event_rows import EntityUpdateRow, updates
from streaming.join.joiner import Joiner
from streaming.join.labeled_impression import LabeledImpression
from streaming.log.event_log import Chunk, Cursor, EventLog
from streaming.log.merged_reader import LogReader

STEP = 4096
"""Most events to read before batches are cut: a bound on what waits in memory and in a checkpoint."""


class _State(msgspec.Struct):
    spec: bytes
    cursor: Cursor
    turn: tuple[int, int]
    joiner: bytes
    entities: bytes
    rows: Packed | None


class Observer(Protocol):
    """Who looks on, such as a catalogue of items."""

    def observe(self, examples: Iterable[LabeledImpression]) -> None: ...

    def seen(self, items: Iterable[str], time: int) -> None:
        """Items that an update at `time` (ms) describes."""
        ...


class Feed:
    """Batches of `batch_size` rows, in the order in which labels became known.

    The batches are a function of the log's content alone (see `LogReader` for partitions), whatever `max_events` they
    are polled with. `state` is that of the batches handed out so far, even in the middle of a poll: restoring it gives
    the batches that follow, bit for bit. `TrainingBatch.cursor` is the cursor after the event that completed the batch.
    `observer` sees all examples as they become known, before they are in a batch, and the items that updates name.
    """

    def __init__(
        self,
        log: EventLog,
        joiner: Joiner,
        entities: EntityState,
        encoder: Encoder,
        batch_size: int,
        start: Cursor | None = None,
        observer: Observer | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.joiner, self.entities, self.encoder = joiner, entities, encoder
        entities.keep(joiner.wait + joiner.lateness)
        self._reader = LogReader(log, start, slack=joiner.lateness)
        self._batch_size = batch_size
        self._observer = observer
        self._ready: deque[EncodedRows] = deque()
        self._rows: list[EncodedRows] = []

    @property
    def cursor(self) -> Cursor:
        """The next events to read. Rows of earlier events may still wait for a batch: see `TrainingBatch.cursor`."""
        return self._reader.cursor

    @property
    def lag_events(self) -> int:
        """Events in the log that were not read yet."""
        return self._reader.lag_events

    @property
    def caught_up(self) -> bool:
        return self.lag_events == 0

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for their batch."""
        return sum(len(rows) for rows in (*self._ready, *self._rows))

    def poll(self, max_events: int, until: int | None = None) -> Iterator[TrainingBatch]:
        """Read at most `max_events` and hand out the full batches, each before the next step of reading.

        Stops at the end of the log and, with `until` (ms), before the first event at that event time or later.
        """
        yield from self._full()
        while max_events > 0 and (chunk := self._reader.read(min(max_events, STEP), until)) is not None:
            max_events -= chunk.events.num_rows
            self._take(chunk)
            yield from self._full()

    def drain(self) -> list[TrainingBatch]:
        """All rows that wait, the last batch with fewer than `batch_size`."""
        batches = list(self._full())
        rest, self._rows = self._rows, []
        return [*batches, EncodedRows.concat(rest).batch()] if rest else batches

    def finish(self) -> Iterator[TrainingBatch]:
        """End of a finite log: close all windows, and hand out what is left, the last batch with fewer rows."""
        examples = self.joiner.flush()
        for example in examples:
            self.entities.resolve(example)
        self._add(examples, np.tile(np.array(self.cursor, np.int64), (len(examples), 1)))
        yield from self._full()
        yield from self.drain()

    def state(self) -> bytes:
        """Joiner, entities, place in the log and rows that wait. Equal futures of equal feeds give equal bytes."""
        waiting = [*self._ready, *self._rows]
        rows = pack(EncodedRows.concat(waiting)) if waiting else None
        parts = self.joiner.state(), self.entities.state()
        return msgspec.msgpack.encode(_State(self.encoder.spec.to_json(), self.cursor, self._reader.turn, *parts, rows))

    def restore(self, state: bytes) -> None:
        """Become what gave `state`. Raises ValueError when it is not a feed's, of other fields, or not of this log."""
        try:
            loaded = msgspec.msgpack.decode(state, type=_State)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a feed's state: {error}") from error
        if loaded.spec != self.encoder.spec.to_json():
            raise ValueError("the state is of other features: restore the specification, or start a new feed")
        rows = [unpack(loaded.rows)] if loaded.rows is not None else []
        self._reader.seek(loaded.cursor, loaded.turn)
        self.joiner.restore(loaded.joiner)
        self.entities.restore(loaded.entities)
        self._ready.clear()
        self._rows = rows

    def _take(self, chunk: Chunk) -> None:
        before = self.joiner.sequence
        examples = self.joiner.push(chunk.events)
        self._resolve(chunk, examples, before)
        cursors_EP = np.tile(np.array(self.cursor, np.int64), (len(examples), 1))
        at_E = np.fromiter((example.sequence for example in examples), np.int64, len(examples))
        cursors_EP[:, chunk.partition] = chunk.offset + at_E - before
        self._add(examples, cursors_EP)

    def _resolve(self, chunk: Chunk, examples: Sequence[LabeledImpression], before: int) -> None:
        """Apply updates and look features up in the order of events, so that it does not matter how they were cut."""
        pending = updates(chunk.events)
        update = next(pending, None)
        reads = self.encoder.reads_entities
        for example in examples:
            while update is not None and before + update.row + 1 < example.sequence:
                self._apply(update)
                update = next(pending, None)
            if reads:
                self.entities.resolve(example)
        while update is not None:
            self._apply(update)
            update = next(pending, None)

    def _apply(self, update: EntityUpdateRow) -> None:
        self.entities.apply(update)
        if self._observer is not None and update.kind == ITEM:
            self._observer.seen((update.key,), update.time)

    def _add(self, examples: list[LabeledImpression], cursors_EP: npt.NDArray[np.int64]) -> None:
        if examples:
            if self._observer is not None:
                self._observer.observe(examples)
            self._rows.append(self.encoder.encode_rows(examples, cursors_EP))

    def _full(self) -> Iterator[TrainingBatch]:
        """Cut full batches. Those not handed out yet are part of the state."""
        if sum(map(len, self._rows)) >= self._batch_size:
            parts = EncodedRows.concat(self._rows).split(self._batch_size)
            self._rows = [parts.pop()] if len(parts[-1]) < self._batch_size else []
            self._ready.extend(parts)
        while self._ready:
            yield self._ready.popleft().batch()
