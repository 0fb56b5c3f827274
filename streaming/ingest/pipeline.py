"""From sources into the event log, with counts that add up to the input."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.errors import IngestError, LogError
from streaming.events.columns import kinds, times
from streaming.ingest.codec import encode_json, to_events
from streaming.ingest.counts import Counts
from streaming.ingest.duplicates.log_window import LogWindow, clash
from streaming.ingest.formats.sources import BEGIN, Batches, Position, Source
from streaming.ingest.label_tally import LabelTally
from streaming.ingest.ordering.external_sort import ExternalSort
from streaming.ingest.ordering.late_events import TAIL, LateEvents
from streaming.ingest.ordering.merge_by_time import Piece, interleaved, merged
from streaming.ingest.piece_reader import PieceReader
from streaming.ingest.refusals.dead_letters import DeadLetter, DeadLetters
from streaming.ingest.refusals.reasons import Reasons
from streaming.ingest.source_offsets import OffsetTracker, SourceOffsets, places, save, trackers
from streaming.ingest.unreadable import Unreadable
from streaming.ingest.validation import Rules
from streaming.log.event_log import EventLog
from streaming.log.partitioning import split

TOGETHER = 16
"""With more sources than these, each is opened when the merge reaches its time, which reads its first block twice."""
HELD = 32 << 20
"""Bytes of events of small sources that are held then, so that they are read once."""
AT_ONCE = 4096
"""Least number of events that they append together, because each append waits for the disk."""
MOST = 1 << 16
"""Most events that are appended together, because a reader of the log holds as many."""

Progress = Callable[[Counts, Position], None]


class Ingest:
    """Appends events to `log`, each once, and invalid records to `dead_letters`.

    An event is a duplicate when its kind and id are among the last `window` events: those at the end of the log at the
    start, and those appended since. With any other content it is refused instead. With
    `source_offsets` a source that was read before is continued where that ended, so that it is not appended twice even
    if it has more events than the window. Memory does not grow with the input.
    `clock` returns milliseconds since the epoch. `late_events` counts events that are older than the newest by more
    than `slack` (ms), which is the joiner's wait and lateness together.
    """

    def __init__(
        self,
        log: EventLog,
        dead_letters: DeadLetters,
        rules: Rules | None = None,
        window: int = 1_000_000,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        source_offsets: SourceOffsets | None = None,
        slack: int = 31 * 60_000,
    ) -> None:
        self._log = log
        self._dead_letters = dead_letters
        self._reader = PieceReader(rules or Rules(), clock)
        self._source_offsets = source_offsets
        self._mark_every = max(1, window // 4)  # what comes after a saved offset has to be within the window
        self._trackers: list[OffsetTracker] = []
        self._unreadable = Unreadable()
        self.late_events = LateEvents(log.partitions, slack)
        self.counts = Counts()
        self.reasons = Reasons()
        """Why records were refused by this object."""
        self.clashes = 0
        """Records refused because another event has their id."""
        self.span: tuple[int, int] | None = None
        """Oldest and newest time of the events that this object has read, duplicates too."""
        self.labels = LabelTally()
        """Of the events that this object has appended."""
        self._window = LogWindow(log, window, self.late_events.observe, TAIL)
        self._window.catch_up()

    @property
    def position(self) -> Position:
        """In the first of the current sources: everything before it is in the log or in the dead letters."""
        return self._trackers[0].now.position if self._trackers else BEGIN

    @property
    def positions(self) -> list[tuple[str, Position]]:
        """The same for all current sources, by name."""
        return [(tracker.name, tracker.now.position) for tracker in self._trackers]

    def run(
        self,
        source: Source,
        start: Position | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Counts:
        """Read `source` to its end, or until `stop` is set; returns the counts of this source.

        Begins at `start`; without one at the source's saved offset, and then counts what is before it too: events as
        duplicates, dead records as dead. `progress` is called after every block.

        Raises IngestError when the log cannot store more or the source cannot be read: `counts` then has what was
        stored, `positions` where to continue. Of several sources, those that can be read are read first.
        """
        return self._run([source], start, progress, stop)

    def merge(
        self, sources: Sequence[Source], progress: Progress | None = None, stop: threading.Event | None = None
    ) -> Counts:
        """As `run`, with sources that belong together, such as impressions and clicks, merged by event time."""
        return self._run(sources, None, progress, stop)

    def sort(
        self,
        sources: Sequence[Source],
        memory: int,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Counts:
        """As `merge`, with events in any order within the sources: sorts them, holding about `memory` bytes.

        A position is the place in the order of time. Refused records are written each time that the sources are read.
        Raises IngestError also when the disk has no room for the sorted events.
        """
        before = self.counts
        with ExternalSort("time", memory) as order:
            identities = [self._collect(source, order, stop) for source in sources]
            if stop is None or not stop.is_set():
                name = ", ".join(source.name for source in sources)
                identity = "".join(identities) if all(identities) else ""
                self._run([Batches(f"{name}, sorted", order.batches(), identity)], None, progress, stop)
        self._unreadable.report()
        return self.counts - before

    def _collect(self, source: Source, order: ExternalSort, stop: threading.Event | None) -> str:
        """Add all events of a source; returns its identity, empty without one, and of a source that breaks off."""
        self._trackers = [OffsetTracker(source)]
        try:
            for piece in self._reader.read(source, self.position):
                self._bury(piece.letters)
                if piece.events.num_rows:
                    order.add(piece.events)
                self._trackers[0].move(piece.end, 0, 0, ended=False)
                if stop is not None and stop.is_set():
                    break
            end = self._trackers[0].now.position
            identity = source.identity(end)
            return f"{identity} {end}" if identity else ""
        except IngestError as error:
            self._unreadable.add(error)
            return ""
        except (OSError, pa.ArrowException) as error:
            raise IngestError(f"{source.name}, from line {self.position.line} on: {error}") from error

    def _bury(self, letters: Sequence[DeadLetter]) -> None:
        self._dead_letters.write(letters)
        for letter in letters:
            self.reasons.add(letter.reason)
        self.counts = replace(self.counts, dead=self.counts.dead + len(letters))

    def _run(
        self, sources: Sequence[Source], start: Position | None, progress: Progress | None, stop: threading.Event | None
    ) -> Counts:
        before = self.counts
        offsets = self._source_offsets if start is None else None
        self._trackers = trackers(sources, start, offsets)
        for tracker in self._trackers:
            self.counts += Counts(duplicate=tracker.now.seen, dead=tracker.now.dead)
        unmarked = self.counts.read
        try:
            for pieces in self._merged(sources):
                self._take(pieces)
                if self.counts.read - unmarked >= self._mark_every:
                    unmarked = self.counts.read
                    save(self._trackers, offsets)
                if progress is not None:
                    progress(self.counts - before, self.position)
                if stop is not None and stop.is_set():
                    break
            save(self._trackers, offsets)
        except (OSError, LogError, pa.ArrowException) as error:
            raise IngestError(f"{places(self.positions)}: {error}") from error
        self._unreadable.report()
        return self.counts - before

    def _merged(self, sources: Sequence[Source]) -> Iterator[Mapping[int, Piece]]:
        starts = [(source, tracker.now.position) for source, tracker in zip(sources, self._trackers, strict=True)]
        if len(starts) <= TOGETHER:
            return merged([self._unreadable.until_broken(self._reader.read(*start)) for start in starts])
        streams, begins = self._reader.peek(starts, HELD)
        return merged([self._unreadable.until_broken(stream) for stream in streams], begins, least=AT_ONCE)

    def _take(self, pieces: Mapping[int, Piece]) -> None:
        events, order_M = interleaved(list(pieces.values()))
        new_M, other_M = self._window.add(events)
        clashes = self._clashes(pieces, events.filter(pa.array(other_M)), order_M[other_M]) if other_M.any() else {}
        letters = [letter for number, piece in pieces.items() for letter in piece.letters + clashes.get(number, [])]
        self._bury(letters)
        if events.num_rows:
            known = self.span or (sys.maxsize, 0)
            self.span = min(known[0], int(times(events).min())), max(known[1], int(times(events).max()))
        fresh = events if new_M.all() else events.filter(pa.array(new_M))
        self._append(fresh, events.num_rows - fresh.num_rows - int(np.count_nonzero(other_M)))
        for number, piece in pieces.items():
            clashed = len(clashes.get(number, ()))
            seen, dead = piece.events.num_rows - clashed, len(piece.letters) + clashed
            self._trackers[number].move(piece.end, seen, dead, piece.ended)

    def _clashes(
        self, pieces: Mapping[int, Piece], events: pa.RecordBatch, order: npt.NDArray[np.intp]
    ) -> dict[int, list[DeadLetter]]:
        """Dead letters, by source, for events whose id another one has; `order` numbers them through the pieces."""
        ends = np.cumsum([piece.events.num_rows for piece in pieces.values()])
        numbers, found = list(pieces), dict[int, list[DeadLetter]]()
        for event, kind, at in zip(to_events(events), kinds(events).tolist(), order.tolist(), strict=True):
            n = int(np.searchsorted(ends, at, "right"))
            piece = pieces[numbers[n]]
            place = piece.position(int(piece.records_N[at - ends[n]]))  # from the end, as the piece ends there
            name, reason = self._trackers[numbers[n]].name, clash(kind, event.id)
            letter = DeadLetter(name, place.line, place.byte, reason, encode_json(event))
            found.setdefault(numbers[n], []).append(letter)
        self.clashes += events.num_rows
        return found

    def _append(self, fresh: pa.RecordBatch, duplicates: int) -> None:
        for partition, part in split(fresh, self._log.partitions) if fresh.num_rows else ():
            for begin in range(0, part.num_rows, MOST):
                some = part.slice(begin, MOST)
                self._log.append(some, partition)
                self.labels.add(some)
                self.late_events.add(some, partition)
                self.counts = replace(self.counts, accepted=self.counts.accepted + some.num_rows)
        self.counts = replace(self.counts, duplicate=self.counts.duplicate + duplicates)
