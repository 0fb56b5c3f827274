"""An event log in a folder, for one machine: many processes append, read and follow at the same time.

FOLDER/log.json                    the number of partitions
FOLDER/PARTITION/BASE.segment      events from offset BASE on (see `streaming.log.segment`)
FOLDER/PARTITION/lock              held (flock) while a process appends to the partition
FOLDER/consumers/NAME.json         committed cursors
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pyarrow as pa

from recsys.errors import AppendError, InvalidValueError, LogCorruptedError, LogError, file_errors
from streaming.events.columns import times
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.durable_files import replace, sync, write_at
from streaming.log.event_log import (
    Chunk,
    Cursor,
    check_cursor,
    check_offset,
    check_partition,
    check_schema,
    consecutive_tail,
    consecutive_unread,
)
from streaming.log.retention import remove, remove_expired
from streaming.log.segment import Payload, Segment, payloads, segment_head


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
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._frame_events = frame_events
        self._poll = poll
        self._keep = keep
        with self._files():
            self._partitions = self._open(partitions)
        self._segments: list[list[Segment]] = [[] for _ in range(self._partitions)]
        self._reading: dict[int, Segment] = {}
        self._mutex = threading.RLock()

    @property
    def partitions(self) -> int:
        return self._partitions

    def append(self, events: pa.RecordBatch, partition: int = 0) -> int:
        """Raises AppendError when the disk is full or failing; a log in files then keeps none of `events`."""
        check_schema(events)
        frames = list(payloads(events, self._frame_events))
        with self._files(), self._locked(partition):
            if not frames:
                return self._end(partition)
            end, begun = self._append(frames, partition)
            if begun and self._keep is not None:
                before = int(times(events).max()) - self._keep
                remove_expired(self._refresh(partition), before, self.folder / "consumers", self._fsync)
            return end

    def read(self, partition: int, offset: int, max_events: int = 65_536) -> Chunk:
        """Raises LogError when `offset` is outside the log, LogCorruptedError when bytes are not as written."""
        self._check(partition)
        with self._files():
            try:
                with self._mutex:
                    return self._read(partition, offset, max_events)
            except (LogCorruptedError, FileNotFoundError):
                # A writer cut a torn tail, or a segment was dropped, while we read: read again under the writers' lock.
                with self._locked(partition):
                    self._segments[partition] = []
                    return self._read(partition, offset, max_events)

    def begin(self) -> Cursor:
        with self._files(), self._mutex:
            return tuple(self._refresh(partition)[0].base for partition in range(self._partitions))

    def end(self) -> Cursor:
        with self._files(), self._mutex:
            return tuple(self._end(partition) for partition in range(self._partitions))

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
        check_cursor(cursor, self._partitions)
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
        check_cursor(cursor, self._partitions)
        for partition, offset in enumerate(cursor):
            with self._files(), self._locked(partition):
                segments = self._refresh(partition)
                keep = max(0, bisect_right([segment.base for segment in segments], offset) - 1)
                remove(segments[:keep], self._fsync)
                self._segments[partition] = segments[keep:]

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
        with _flock(self.folder / "lock"):
            if not path.exists():  # another process may have created it first
                for partition in range(partitions):
                    (self.folder / str(partition)).mkdir(exist_ok=True)
                replace(path, json.dumps({"partitions": partitions}).encode())
                sync(self.folder.parent)

    def _files(self) -> AbstractContextManager[None]:
        return file_errors("the event log ([log] url)", self.folder, LogError)

    def _check(self, partition: int) -> None:
        check_partition(partition, self._partitions, str(self.folder))

    @contextmanager
    def _locked(self, partition: int) -> Iterator[None]:
        self._check(partition)
        with self._mutex, _flock(self.folder / str(partition) / "lock"):
            yield

    def _refresh(self, partition: int) -> list[Segment]:
        """All segments of the partition, with the last one read to its end; one empty segment when there is none."""
        folder = self.folder / str(partition)
        known = self._segments[partition]
        bases = sorted(int(name[: -len(".segment")]) for name in os.listdir(folder) if name.endswith(".segment"))
        if bases != [segment.base for segment in known]:
            old = {segment.base: segment for segment in known}
            known = [old.get(base) or Segment(folder / f"{base:020d}.segment", base) for base in bases]
            self._segments[partition] = known
        if not known:
            return [Segment(folder / f"{0:020d}.segment", 0)]
        known[-1].refresh()
        return known

    def _end(self, partition: int) -> int:
        return self._refresh(partition)[-1].end

    def _read(self, partition: int, offset: int, max_events: int) -> Chunk:
        segments = self._segments[partition]
        if not segments or offset >= segments[-1].end:
            segments = self._refresh(partition)
        check_offset(partition, segments[0].base, offset, segments[-1].end, str(self.folder))
        if offset == segments[-1].end:
            return Chunk.consecutive(partition, offset, pa.RecordBatch.from_pylist([], EVENT_SCHEMA))
        segment = self._segment_at(segments, offset)
        if (previous := self._reading.get(partition)) is not None and previous is not segment:
            previous.release()
        self._reading[partition] = segment
        return Chunk.consecutive(partition, offset, segment.read(offset, max_events))

    @staticmethod
    def _segment_at(segments: Sequence[Segment], offset: int) -> Segment:
        i = bisect_right([segment.base for segment in segments], offset) - 1
        due = segments[i + 1].base if i + 1 < len(segments) else None
        if segments[i].end != due:
            segments[i].refresh()
        if due not in (None, segments[i].end):
            raise LogCorruptedError(
                f"{segments[i].path} ends at offset {segments[i].end}, but {segments[i + 1].path.name} follows; "
                "restore the file from a copy"
            )
        return segments[i]

    def _append(self, frames: list[Payload], partition: int) -> tuple[int, bool]:
        """The offset after the last event, and whether a segment was begun."""
        segment = self._refresh(partition)[-1]
        if segment.size >= self._segment_bytes:
            segment = Segment(segment.path.with_name(f"{segment.end:020d}.segment"), segment.end)
        size, offset = segment.size, segment.end
        data = bytearray() if size else bytearray(segment_head(segment.base))
        for payload in frames:
            data += payload.frame(offset)
            offset += payload.events
        try:
            write_at(segment.path, size, data, self._fsync)
        except OSError as error:
            raise AppendError(
                error.errno,
                f"{os.strerror(error.errno or 0)}: {offset - segment.end} events not appended, the log is unchanged; "
                "before; make room and append them again",
                str(segment.path),
            ) from error
        if not size and self._fsync:
            sync(segment.path.parent)
        return offset, not size

    def _consumer(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) or name.startswith("."):
            raise InvalidValueError(f"a consumer's name consists of letters, digits, '_', '.' and '-', got {name!r}")
        return self.folder / "consumers" / f"{name}.json"


@contextmanager
def _flock(path: Path) -> Iterator[None]:
    # Opened anew each time: a lock belongs to an open file, and a forked child would share its parent's.
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
