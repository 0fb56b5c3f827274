"""From sources into the event log, with counts that add up to the input."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import compress

import pyarrow as pa

from streaming.codec import Reject, decode_events, encode_events, event_ids, kinds
from streaming.dead_letters import DeadLetter, DeadLetters
from streaming.dedup import RecentEvents
from streaming.log import EventLog
from streaming.partition import split
from streaming.rules import Rules
from streaming.sources import BEGIN, Block, Position, Source


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the records so far; every one that was read is in exactly one of the three."""

    accepted: int = 0
    duplicate: int = 0
    dead: int = 0

    @property
    def read(self) -> int:
        return self.accepted + self.duplicate + self.dead

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.accepted - other.accepted, self.duplicate - other.duplicate, self.dead - other.dead)


Progress = Callable[[Counts, Position], None]


class IngestError(RuntimeError):
    """The disk refused the log or the dead letters. What `counts` says is safe; go on from `position`."""

    def __init__(self, message: str, counts: Counts, position: Position) -> None:
        super().__init__(message)
        self.counts = counts
        self.position = position


class Ingest:
    """Brings events into `log`, each once, and what is no event to `dead_letters`.

    An event is a duplicate when its kind and id are among the last `window` events: of the log at the beginning, and
    of those that came since. Reading a source again from `position`, or from its beginning within the window, adds
    nothing twice. Memory does not grow with the input. `clock` gives milliseconds since the epoch.
    """

    def __init__(
        self,
        log: EventLog,
        dead_letters: DeadLetters,
        rules: Rules | None = None,
        window: int = 1_000_000,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._log = log
        self._dead_letters = dead_letters
        self._rules = rules or Rules()
        self._clock = clock
        self._recent = RecentEvents.of(log, window)
        self.counts = Counts()
        self.position = BEGIN
        """In the present source: what is before it is in the log or in the dead letters."""

    def run(
        self,
        source: Source,
        start: Position = BEGIN,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Counts:
        """Read `source` to its end, or until `stop` is set; returns the counts of this run.

        `progress` is called after every block with the counts and the position so far. Raises IngestError.
        """
        before, self.position = self.counts, start
        for block in source.blocks(start):
            with self._safe(before):
                self._block(source.name, block)
            self.position = block.end
            if progress is not None:
                progress(self.counts - before, self.position)
            if stop is not None and stop.is_set():
                break
        return self.counts - before

    def run_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Counts:
        """The same for events that are valid already, as an importer makes them. A position's line is the event."""
        before, self.position = self.counts, BEGIN
        for batch in batches:
            new = self._recent.add(batch.column("kind").to_numpy(), batch.column("id").to_pylist())
            fresh = batch if new.all() else batch.filter(pa.array(new))
            with self._safe(before):
                self._append(fresh, batch.num_rows - fresh.num_rows)
            self.position = Position(self.position.line + batch.num_rows)
            if progress is not None:
                progress(self.counts - before, self.position)
            if stop is not None and stop.is_set():
                break
        return self.counts - before

    def _block(self, source: str, block: Block) -> None:
        with _uncollected():
            fresh, duplicates, rejects = self._decode(block)
        refused = [(i, fault.reason, fault.raw) for i, fault in block.faults.items()]
        refused += [(reject.line, reject.reason, reject.raw) for reject in rejects]
        letters = []
        for i, reason, raw in sorted(refused):
            at = block.position(i)
            letters.append(DeadLetter(source, at.line, at.byte, reason, raw))
        self._dead_letters.write(letters)
        self.counts = replace(self.counts, dead=self.counts.dead + len(letters))
        self._append(fresh, duplicates)

    def _decode(self, block: Block) -> tuple[pa.RecordBatch, int, list[Reject]]:
        events, rejects = decode_events(block.lines, self._clock(), self._rules)
        ids = event_ids(events)
        new = self._recent.add(kinds(events), ids).tolist()
        fresh = encode_events(list(compress(events, new)), list(compress(ids, new)))
        return fresh, len(events) - fresh.num_rows, rejects

    def _append(self, fresh: pa.RecordBatch, duplicates: int) -> None:
        for partition, part in split(fresh, self._log.partitions) if fresh.num_rows else ():
            self._log.append(part, partition)
            self.counts = replace(self.counts, accepted=self.counts.accepted + part.num_rows)
        self.counts = replace(self.counts, duplicate=self.counts.duplicate + duplicates)

    @contextmanager
    def _safe(self, before: Counts) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise IngestError(str(error), self.counts - before, self.position) from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hold the garbage collector off for a block: its events are many objects, none in a cycle, and soon gone."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
