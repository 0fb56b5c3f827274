"""Writes events of all requests to the event log, each once, from one thread.

Shape suffixes: N events.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.errors import LogFullError
from streaming.events.schema import Impression, ShadowScores
from streaming.ingest.codec import encode_event
from streaming.ingest.duplicates.log_window import LogWindow
from streaming.log.event_log import EventLog
from streaming.log.partitioning import split

_logger = logging.getLogger(__name__)
_MOST_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of the events of one request: all are in the log now, except those with a clash."""

    new_N: npt.NDArray[np.bool_]
    """Whether the event was appended."""
    clash_N: npt.NDArray[np.bool_]
    """Whether it was refused, because the log has another event with its kind and id but other content."""


NOTHING = Stored(np.zeros(0, np.bool_), np.zeros(0, np.bool_))


class EventWriter:
    """Appends events to the log in the order in which they arrive.

    Group commit: events that arrive during one append share the next; a single request does not wait for others. A
    future completes when its events are stored durably (they survive kill -9), and fails when they are not; then they
    must not be acknowledged. `stored` is called with events that were stored.

    Events whose kind and id are among the last `window` of the log, by any writer, are not stored again.
    """

    def __init__(
        self,
        log: EventLog,
        stored: Callable[[pa.RecordBatch], None] = lambda _: None,
        most_waiting: int = 100_000,
        window: int = 1_000_000,
    ) -> None:
        self._log = log
        self._window = LogWindow(log, window)
        self._stored = stored
        self._most = most_waiting
        self._waiting: deque[tuple[pa.RecordBatch | Impression | ShadowScores, Future[Stored]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.failing = False
        """Whether the last append failed."""
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests whose events are not stored yet."""
        return len(self._waiting)

    def append(self, events: pa.RecordBatch | Impression | ShadowScores) -> Future[Stored]:
        """Queue events (`EVENT_SCHEMA`), or one event, which is encoded later in the writer's thread.

        The future fails with LogFullError when too many requests wait, and with the log's error when an append fails.
        """
        future: Future[Stored] = Future()
        with self._changed:
            if self._closed or len(self._waiting) >= self._most:
                future.set_exception(LogFullError("too many events are waiting to be stored; try again in a moment"))
                return future
            self._waiting.append((events, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Store the waiting events, then stop. Call this before closing the log."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        self._look_ahead()
        while group := self._next():
            try:
                parts = [_encoded(part) for part, _ in group]
                events = pa.concat_batches(parts)
                outcome = self._store(events)
            except Exception as error:  # these events are not stored, but the next may be
                self.failing = True
                _logger.error("events of %d requests could not be stored: %s", len(group), error)
                for _, future in group:
                    future.set_exception(error)
                continue
            self.failing = False
            end = 0
            for part, (_, future) in zip(parts, group, strict=True):
                begin, end = end, end + part.num_rows
                future.set_result(Stored(outcome.new_N[begin:end], outcome.clash_N[begin:end]))
            self._notify(_chosen(events, outcome.new_N))

    def _look_ahead(self) -> None:
        """Read the end of the log before the first events come."""
        try:
            self._window.catch_up()
        except Exception as error:  # the first events try again
            _logger.warning("the end of the log cannot be read: %s", error)

    def _next(self) -> list[tuple[pa.RecordBatch | Impression | ShadowScores, Future[Stored]]]:
        """Wait for events; an empty group after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]

    def _store(self, events: pa.RecordBatch) -> Stored:
        self._window.catch_up()
        new_N, clash_N = self._window.find(events)
        for partition, part in split(_chosen(events, new_N), self._log.partitions) if new_N.any() else ():
            self._window.appended(part, partition, self._log.append(part, partition))
        return Stored(new_N, clash_N)

    def _notify(self, events: pa.RecordBatch) -> None:
        try:
            if events.num_rows:
                self._stored(events)
        except Exception as error:  # the log has the events; counters are only a view
            _logger.warning("the counters miss %d events: %s", events.num_rows, error)


def _chosen(events: pa.RecordBatch, chosen_N: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    return events if chosen_N.all() else events.filter(pa.array(chosen_N))


def _encoded(events: pa.RecordBatch | Impression | ShadowScores) -> pa.RecordBatch:
    return events if isinstance(events, pa.RecordBatch) else encode_event(events)
