"""An event log in a folder, for one machine: many processes append, read and follow at the same time.

FOLDER/log.json                    the number of partitions
FOLDER/PARTITION/BASE.segment      events from offset BASE on (see `streaming.log.files.segment`)
FOLDER/PARTITION/lock              held (flock) while a process appends to the partition
FOLDER/lock                        held while the log is made, and while a process rewrites segments
FOLDER/consumers/NAME.json         committed cursors
"""

from __future__ import annotations

import json
import re
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from recsys.errors import InvalidValueError, LogCorruptedError, LogError, file_errors
from streaming.events.columns import times
from streaming.log.durable_files import replace, sync
from streaming.log.event_log import (
    Chunk,
    Cursor,
    check_cursor,
    check_partition,
    check_schema,
    consecutive_tail,
    consecutive_unread,
)
from streaming.log.files.partition_files import PartitionFiles, flock
from streaming.log.files.rewriting import Change, Crash
from streaming.log.files.segment import payloads


class FileLog:
    """`EventLog` in files. A tail torn by a kill -9 is ignored by readers and cut by the next writer.

    `partitions` is fixed when the folder is first used; None takes what is there (1 for a new log). With `fsync=False`
    events survive a kill -9 but not a power cut. `wait` looks for new events every `poll` seconds.

    With `keep` (ms of event time) a writer that begins a segment removes the oldest ones if they hold only events that
    are older than those it appends by more than that.
    """

    identity = ""

    def __init__(
        self,
        folder: Path | str,
        partitions: int | None = None,
        fsync: bool = True,
        segment_bytes: int = 64 << 20,
        frame_events: int = 16_384,
        poll: float = 0.01,
        keep: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._frame_events = frame_events
        self._poll = poll
        self._keep = keep
        with self._files():
            count = self._open(partitions)
        self._partitions = [PartitionFiles(self.folder / str(i), segment_bytes, fsync) for i in range(count)]

    @property
    def partitions(self) -> int:
        return len(self._partitions)

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        """Raises AppendError when the disk is full or failing; a log in files then keeps none of `events`."""
        check_schema(events)
        frames = list(payloads(events, self._frame_events))
        files = self._partition(partition)
        with self._files():
            if not frames:
                return files.end
            end, begun = files.append(frames)
            if begun and self._keep is not None:
                files.remove_expired(int(times(events).max()) - self._keep, self.folder / "consumers")
            return end

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        """Raises LogError when `offset` is outside the log, LogCorruptedError when bytes are not as written."""
        files = self._partition(partition)
        with self._files():
            return files.read(offset, max_events)

    def begin(self) -> Cursor:
        with self._files():
            return tuple(files.begin for files in self._partitions)

    def end(self) -> Cursor:
        with self._files():
            return tuple(files.end for files in self._partitions)

    def unread(self, cursor: Cursor) -> int:
        return consecutive_unread(self, cursor)

    def tail(self, events: int) -> Cursor:
        return consecutive_tail(self, events)

    def wait(self, cursor: Cursor, timeout: float) -> bool:
        """Raises LogError when the log ends before `cursor`: waiting would never end."""
        deadline = time.monotonic() + timeout
        while not any(end > offset for end, offset in zip(self._not_cut(cursor), cursor, strict=True)):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(self._poll, left))
        return True

    def _not_cut(self, cursor: Cursor) -> Cursor:
        ends = self.end()
        if any(end < offset for end, offset in zip(ends, cursor, strict=True)):
            raise LogError(f"{self.folder} ends at {ends}, before {cursor}: the log was cut or replaced while in use")
        return ends

    def commit(self, consumer: str, cursor: Cursor) -> None:
        check_cursor(cursor, self.partitions)
        path = self._consumer(consumer)
        with self._files():
            path.parent.mkdir(exist_ok=True)
            replace(path, json.dumps({"cursor": cursor}).encode())

    def committed(self, consumer: str) -> Cursor | None:
        path = self._consumer(consumer)
        with self._files():
            return tuple(json.loads(path.read_bytes())["cursor"]) if path.exists() else None

    def drop_before(self, cursor: Cursor) -> None:
        """Removes the segments that lie before `cursor` as a whole; the newest one stays."""
        check_cursor(cursor, self.partitions)
        with self._files():
            for files, offset in zip(self._partitions, cursor, strict=True):
                files.drop_before(offset)

    def rewrite(self, change: Change, crash: Crash = lambda _point: None) -> None:
        """Replace events that are there now, in their places: offsets and cursors stay. Others may read and append.

        `crash` is called at each point at which a test may kill. Raises LogCorruptedError; LogError when the disk is
        full or failing, and then some segments are rewritten and the others as before.
        """
        with self._files(), flock(self.folder / "lock"):
            for files in self._partitions:
                files.rewrite(change, crash)

    def close(self) -> None:
        """Nothing to release: no file is open between calls."""

    def _open(self, partitions: int | None) -> int:
        path = self.folder / "log.json"
        if not path.exists():
            self._make(path, partitions or 1)
        try:
            found = int(json.loads(path.read_bytes())["partitions"])
        except (ValueError, KeyError, TypeError):
            raise LogCorruptedError(
                f'{path} is damaged; write the number of partitions into it: {{"partitions": 1}}'
            ) from None
        if partitions not in (None, found):
            raise InvalidValueError(
                f"{self.folder} has {found} partitions, not {partitions}; their number is fixed when the log is made"
            )
        return found

    def _make(self, path: Path, partitions: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with flock(self.folder / "lock"):
            if not path.exists():  # another process may have created it first
                for partition in range(partitions):
                    (self.folder / str(partition)).mkdir(exist_ok=True)
                replace(path, json.dumps({"partitions": partitions}).encode())
                sync(self.folder.parent)

    def _files(self) -> AbstractContextManager[None]:
        return file_errors("the event log ([log] url)", self.folder, LogError)

    def _partition(self, partition: int) -> PartitionFiles:
        check_partition(partition, self.partitions, str(self.folder))
        return self._partitions[partition]

    def _consumer(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) or name.startswith("."):
            raise InvalidValueError(f"a consumer's name consists of letters, digits, '_', '.' and '-', got {name!r}")
        return self.folder / "consumers" / f"{name}.json"
