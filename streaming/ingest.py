"""From sources into the event log, with counts that add up to the input."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import compress

import pyarrow as pa

from streaming.bookmarks import Bookmark, Bookmarks, Marker
from streaming.codec import Reject, decode_events, encode_events, event_ids, kinds
from streaming.dead_letters import DeadLetter, DeadLetters
from streaming.dedup import RecentEvents
from streaming.log import EventLog
from streaming.partition import split
from streaming.rules import Rules
from streaming.sources import BEGIN, Block, Position, Source, Valid


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the records so far; every one that was read is in exactly one of the three."""

    accepted: int = 0
    duplicate: int = 0
    dead: int = 0

    @property
    def read(self) -> int:
        return self.accepted + self.duplicate + self.dead

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.accepted + other.accepted, self.duplicate + other.duplicate, self.dead + other.dead)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.accepted - other.accepted, self.duplicate - other.duplicate, self.dead - other.dead)


Progress = Callable[[Counts, Position], None]


class IngestError(RuntimeError):
    """The disk took no more, or the source could not be read. `counts` says what is safe; `position` where to go on."""

    def __init__(self, message: str, counts: Counts, position: Position) -> None:
        super().__init__(message)
        self.counts = counts
        self.position = position


class Ingest:
    """Brings events into `log`, each once, and what is no event to `dead_letters`.

    An event is a duplicate when its kind and id are among the last `window` events: of the log at the beginning, and
    of those that came since. With `bookmarks` a source that was read before is read on where that ended, so that
    nothing is there twice though it has more events than the window. Memory does not grow with the input. `clock`
    gives milliseconds since the epoch.
    """

    def __init__(
        self,
        log: EventLog,
        dead_letters: DeadLetters,
        rules: Rules | None = None,
        window: int = 1_000_000,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        bookmarks: Bookmarks | None = None,
    ) -> None:
        self._log = log
        self._dead_letters = dead_letters
        self._rules = rules or Rules()
        self._clock = clock
        self._recent = RecentEvents.of(log, window)
        self._bookmarks = bookmarks
        self._mark_every = max(1, window // 4)  # what comes after a bookmark has to be within the window
        self.counts = Counts()
        self.source = ""
        """The present source."""
        self.position = BEGIN
        """In the present source: what is before it is in the log or in the dead letters."""

    def run(
        self,
        source: Source,
        start: Position | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Counts:
        """Read `source` to its end, or until `stop` is set; returns the counts of this source.

        Begins at `start`; without one at the source's bookmark, and then counts what is before it too: events as
        duplicates, dead records as dead. `progress` is called after every block. Raises IngestError.
        """
        before, marker = self.counts, Marker(self._bookmarks if start is None else None, source, self._mark_every)
        self.source, self.position = source.name, start or BEGIN
        if (mark := marker.find()) is not None:
            self.position = mark.position
            self.counts += Counts(duplicate=mark.seen, dead=mark.dead)
        try:
            for block in source.blocks(self.position):
                self._take(source.name, block)
                self.position, counts = block.end, self.counts - before
                if block.ended:
                    marker.move(Bookmark(block.end, "", counts.accepted + counts.duplicate, counts.dead))
                if progress is not None:
                    progress(counts, self.position)
                if stop is not None and stop.is_set():
                    break
            marker.save()
        except (OSError, pa.ArrowException) as error:
            reason = f"{source.name}, from line {self.position.line} on: {error}"
            raise IngestError(reason, self.counts - before, self.position) from error
        return self.counts - before

    def _take(self, source: str, block: Block | Valid) -> None:
        if isinstance(block, Valid):
            events = block.events
            new = self._recent.add(events.column("kind").to_numpy(), events.column("id").to_pylist())
            fresh = events if new.all() else events.filter(pa.array(new))
            self._append(fresh, events.num_rows - fresh.num_rows)
        else:
            self._lines(source, block)

    def _lines(self, source: str, block: Block) -> None:
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
def _uncollected() -> Iterator[None]:
    """Hold the garbage collector off for a block: its events are many objects, none in a cycle, and soon gone."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
