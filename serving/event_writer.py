"""Writes events of all requests to the event log, from one thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import pyarrow as pa

from recsys.errors import LogFullError
from streaming.events.schema import Impression
from streaming.ingest.codec import encode_event
from streaming.log.event_log import EventLog
from streaming.log.partitioning import split

_logger = logging.getLogger(__name__)
_MOST_AT_ONCE = 8192


class EventWriter:
    """Appends events to the log in the order in which they arrive.

    Group commit: events that arrive during one append share the next; a single request does not wait for others. A
    future completes when its events are stored durably (they survive kill -9), and fails when they are not; then they
    must not be acknowledged. `stored` is called with events that were stored.
    """

    def __init__(
        self, log: EventLog, stored: Callable[[pa.RecordBatch], None] = lambda _: None, most_waiting: int = 100_000
    ) -> None:
        self._log = log
        self._stored = stored
        self._most = most_waiting
        self._waiting: deque[tuple[pa.RecordBatch | Impression, Future[None]]] = deque()
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

    def append(self, events: pa.RecordBatch | Impression) -> Future[None]:
        """Queue events (`EVENT_SCHEMA`), or an impression, which is encoded later in the writer's thread.

        The future fails with LogFullError when too many requests wait, and with the log's error when an append fails.
        """
        future: Future[None] = Future()
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
        while group := self._next():
            try:
                events = pa.concat_batches([_encoded(part) for part, _ in group])
                self._store(events)
            except Exception as error:  # these events are not stored, but the next may be
                self.failing = True
                _logger.error("events of %d requests could not be stored: %s", len(group), error)
                for _, future in group:
                    future.set_exception(error)
                continue
            self.failing = False
            for _, future in group:
                future.set_result(None)
            self._notify(events)

    def _next(self) -> list[tuple[pa.RecordBatch | Impression, Future[None]]]:
        """Wait for events; an empty group after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]

    def _store(self, events: pa.RecordBatch) -> None:
        for partition, part in split(events, self._log.partitions):
            self._log.append(part, partition)

    def _notify(self, events: pa.RecordBatch) -> None:
        try:
            self._stored(events)
        except Exception as error:  # the log has the events; counters are only a view
            _logger.warning("the counters miss %d events: %s", events.num_rows, error)


def _encoded(events: pa.RecordBatch | Impression) -> pa.RecordBatch:
    return encode_event(events) if isinstance(events, Impression) else events
