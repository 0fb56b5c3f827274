"""From the log to batches of exactly the same size, resumed exactly after a crash.

Shape suffixes: I labeled impressions, P partitions of the log.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError, StateError
from streaming.encode.adaptation import adapted
from streaming.encode.batch import TrainingBatch
from streaming.encode.encoded_rows import unpack
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.events.columns import ITEM, USER, erased_users, kinds, times
from streaming.feed_state import FeedState
from streaming.join.columns_to_rows import EntityUpdateRow, updates
from streaming.join.joiner import Joiner
from streaming.join.label_columns import LabelColumns
from streaming.join.tasks_joiner import TasksJoiner
from streaming.log.event_log import Chunk, Cursor, EventLog
from streaming.log.merged_reader import LogReader
from streaming.observers import Observer
from streaming.waiting_rows import WaitingRows
from streaming.windows.streamed_features import StreamedFeatures

STEP = 4096
"""Most events to read before batches are cut: a bound on what waits in memory and in a checkpoint."""


class Feed:
    """Batches of `batch_size` rows, in the order in which labels became known.

    The batches are a function of the log's content alone (see `LogReader` for partitions), whatever `max_events` they
    are polled with. `state` is that of the batches returned so far, even in the middle of a poll: restoring it gives
    the batches that follow, bit for bit. `TrainingBatch.cursor` is the cursor after the event that completed the batch.
    `streamed` computes features of impressions as they are read.
    `observer` is notified of the first task's labeled impressions before they are in a batch, and of updated items.

    With `partitions` only the impressions and interactions of these partitions become rows. Updates of users and items
    count whatever their partition, and so does the time of every event, so that feeds which divide the partitions
    among them return the rows of one feed over all, each once.

    Such a feed still reads the whole log: updates lie in every partition, where windows close depends on the time of
    every event, and a log has neither an index of updates nor times apart from events. It saves only the joining and
    encoding of the others' impressions.
    """

    def __init__(
        self,
        log: EventLog,
        joiner: Joiner | TasksJoiner,
        entities: EntityState,
        encoder: Encoder,
        batch_size: int,
        start: Cursor | None = None,
        observer: Observer | None = None,
        partitions: Sequence[int] | None = None,
        streamed: StreamedFeatures | None = None,
    ) -> None:
        """Raises InvalidValueError for an impossible `batch_size` or `partitions`, LogError for a `start` not there."""
        self._waiting = WaitingRows(batch_size)
        self.partitions = tuple(range(log.partitions)) if partitions is None else tuple(sorted(set(partitions)))
        if not self.partitions or self.partitions[0] < 0 or self.partitions[-1] >= log.partitions:
            raise InvalidValueError(f"partitions are {self.partitions}; choose some of the log's {log.partitions}")
        self.joiner, self.entities, self.encoder = joiner, entities, encoder
        self.streamed = streamed or StreamedFeatures.none()
        entities.keep_history(joiner.wait + joiner.lateness)
        self._reader = LogReader(log, start, slack=joiner.lateness)
        self._observer = observer
        self._erasing = ""
        """The user of an erasure that was read, and is done once the batches before it are returned."""
        self._erased: list[str] = []

    @property
    def cursor(self) -> Cursor:
        """The next events to read. Rows of earlier ones may still wait for their batch: see `TrainingBatch.cursor`."""
        return self._reader.cursor

    @property
    def lag_events(self) -> int:
        """Unread events in the log; an upper bound if it skips offsets (`LogReader.lag_events`)."""
        return self._reader.lag_events

    @property
    def caught_up(self) -> bool:
        """Whether every event in the log was read."""
        return self.lag_events == 0

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for their batch."""
        return len(self._waiting)

    @property
    def losses(self) -> dict[str, int]:
        """What was lost in making rows, since the log began: windows closed before their time (`closed_early`), evicted
        features (`evicted_users`, `evicted_items`) and counters (`evicted_counters_of_items`, for one), feature values
        of the wrong kind (`bad_values`).
        """
        counters = self.entities.counters | self.streamed.counters
        evicted = {name: count for name, count in counters.items() if name.startswith("evicted")}
        bad_values = sum(self.encoder.bad_values.values())
        return {"closed_early": self.joiner.tallies["closed_early"], **evicted, "bad_values": bad_values}

    def poll(self, max_events: int = sys.maxsize, until: int | None = None) -> Iterator[TrainingBatch]:
        """Read at most `max_events` and return the full batches, each before the next step of reading.

        Stops at the end of the log and, with `until` (ms), before the first event at that event time or later.
        """
        yield from self._waiting.full()
        self._erase()
        while max_events > 0 and (chunk := self._reader.read(min(max_events, STEP), until)) is not None:
            max_events -= chunk.events.num_rows
            self._take(chunk)
            yield from self._waiting.full()
            self._erase()

    def take_erased(self) -> list[str]:
        """Users who were erased since the last call, after the batches returned so far and before those that follow."""
        erased, self._erased = self._erased, []
        return erased

    def forget(self, user: str) -> int:
        """Drop all that is known of a user, rows that wait included; returns how much there was.

        Counts of items stay, which name no user.
        """
        found = self.entities.users.forget(user) + self.joiner.forget(user) + self.streamed.forget(user)
        if self._observer is not None:
            found += self._observer.forget(user)
        return found + self._waiting.forget(user, self.encoder.spec)

    def drain(self) -> list[TrainingBatch]:
        """All rows that wait, the last batch with fewer than `batch_size`."""
        return self._waiting.drain()

    def finish(self) -> Iterator[TrainingBatch]:
        """End of a finite log: close all windows and return what is left, the last batch with fewer rows."""
        labels = self.joiner.close()
        self.entities.resolve_all(labels)
        self._add(labels, self._cursors_here(len(labels)), np.full(len(labels), self.joiner.clock))
        yield from self._waiting.full()
        yield from self.drain()

    def state(self) -> bytes:
        """Joiner, entities, place in the log and rows that wait. Feeds in equal states give equal bytes."""
        return FeedState(
            self.encoder.spec.to_json(),
            self.partitions,
            self.cursor,
            self._reader.turn,
            self.joiner.state(),
            self.entities.state(),
            self.encoder.bad_values,
            self._waiting.packed(),
            self.streamed.state(),
            self._erasing,
            self._erased,
        ).encoded()

    def restore(self, state: bytes, *, adapt: bool = False) -> None:
        """Restore the state returned by `state()`; with `adapt` also one of other features (see `adapted`).

        Raises StateError for other bytes, features or partitions, LogError for another log.
        """
        loaded = FeedState.decoded(state, self.partitions)
        same = loaded.features == self.encoder.spec
        if not same and not adapt:
            raise StateError("the state has other features: restore the specification, or start a new feed")
        rows = [unpack(loaded.rows)] if loaded.rows is not None else []
        if not same:
            rows = [adapted(each, loaded.features, self.encoder) for each in rows]
        self._reader.seek(loaded.cursor, loaded.turn)
        self.joiner.restore(loaded.joiner)
        self.entities.restore(loaded.entities)
        self.streamed.restore(loaded.streamed)
        self.encoder.bad_values = {name: loaded.bad_values.get(name, 0) for name in self.encoder.bad_values}
        self._waiting.replace(rows)
        self._erasing, self._erased = loaded.erasing, loaded.erased

    def _take(self, chunk: Chunk) -> None:
        before, clock = self.joiner.sequence, self.joiner.clock
        join = self.joiner.join if chunk.partition in self.partitions else self.joiner.skip
        labels = join(self.streamed.take(chunk.events))
        self._resolve(chunk, labels, before)
        cursors_IP, at_I = self._cursors_here(len(labels)), labels.sequence_I - before - 1
        cursors_IP[:, chunk.partition] = chunk.next_offsets_N[at_I]
        clocks_N = np.maximum.accumulate(np.maximum(times(chunk.events), clock))
        self._add(labels, cursors_IP, clocks_N[at_I])
        for _, user in erased_users(chunk.events):  # at most one, which comes alone
            self._erasing = user

    def _erase(self) -> None:
        """Do the erasure that was read last."""
        if self._erasing:
            self.forget(self._erasing)
            self._erased.append(self._erasing)
            self._erasing = ""

    def _cursors_here(self, count: int) -> npt.NDArray[np.int64]:
        return np.tile(np.array(self.cursor, np.int64), (count, 1))

    def _resolve(self, chunk: Chunk, labels: LabelColumns, before: int) -> None:
        """Apply updates and look features up in the order of events, so that chunks may be cut anywhere."""
        reads = self.encoder.reads_entities
        pending = updates(chunk.events) if np.isin(kinds(chunk.events), (USER, ITEM)).any() else iter(())
        update = next(pending, None)
        if update is None:
            if reads:
                self.entities.resolve_all(labels)
            return
        for number, sequence in enumerate(labels.sequence_I.tolist()):
            while update is not None and before + update.row + 1 < sequence:
                self._apply(update)
                update = next(pending, None)
            if reads:
                self.entities.resolve(labels, number)
        while update is not None:
            self._apply(update)
            update = next(pending, None)

    def _apply(self, update: EntityUpdateRow) -> None:
        self.entities.apply(update)
        if self._observer is not None and update.kind == ITEM:
            self._observer.seen((update.key,), update.time)
            if update.available is not None:
                self._observer.available(update.key, update.time, is_so=update.available)

    def _add(self, labels: LabelColumns, cursors_IP: npt.NDArray[np.int64], clocks_I: npt.NDArray[np.int64]) -> None:
        if len(labels):
            if self._observer is not None:
                self._observer.observe(labeled for labeled in labels.impressions() if labeled.task == 0)
            self._waiting.add(self.encoder.encode_rows(labels, cursors_IP, clocks_I))
