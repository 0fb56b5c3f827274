"""One partition of a log in files: its segments, and the lock of those that write them."""

from __future__ import annotations

import fcntl
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from recsys.errors import AppendError, LogCorruptedError
from streaming.events.schema import EVENT_SCHEMA
from streaming.log.durable_files import sync, write_at
from streaming.log.event_log import Chunk, check_offset
from streaming.log.files.retention import remove, remove_expired
from streaming.log.files.rewriting import Change, Crash, rewritten, unfinished
from streaming.log.files.segment import Payload, Segment, segment_head


class PartitionFiles:
    """The segments in `folder`, whose name is the partition's number. One thread and process at a time writes them.

    A segment of `segment_bytes` or more is full. With `fsync=False` events survive a kill -9 but not a power cut.
    """

    def __init__(self, folder: Path, segment_bytes: int, fsync: bool) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._segments: list[Segment] = []
        self._reading: Segment | None = None
        self._mutex = threading.RLock()

    @property
    def begin(self) -> int:
        """The offset of the first event."""
        with self._mutex:
            return self._refresh()[0].base

    @property
    def end(self) -> int:
        """The offset after the last event."""
        with self._mutex:
            return self._refresh()[-1].end

    def append(self, frames: Sequence[Payload]) -> tuple[int, bool]:
        """The offset after the last event, and whether a segment was begun. AppendError: the partition is as before."""
        with self._locked():
            segment = self._refresh()[-1]
            if segment.size >= self._segment_bytes:
                segment = self._segment(segment.end)
            data, end = _written(frames, segment)
            try:
                write_at(segment.path, segment.size, data, self._fsync)
            except OSError as error:
                raise AppendError(
                    error.errno,
                    f"{os.strerror(error.errno or 0)}: {end - segment.end} events not appended, the log is unchanged; "
                    "before; make room and append them again",
                    str(segment.path),
                ) from error
            if not segment.size and self._fsync:
                sync(self._folder)
            return end, not segment.size

    def read(self, offset: int, max_events: int) -> Chunk:
        """Raises LogError when `offset` is outside the log, LogCorruptedError when bytes are not as written."""
        try:
            with self._mutex:
                return self._read(offset, max_events)
        except (LogCorruptedError, FileNotFoundError):
            # A writer cut a torn tail, or a segment was dropped or rewritten, while we read: read again under its lock.
            with self._locked():
                self._segments = []
                return self._read(offset, max_events)

    def drop_before(self, offset: int) -> None:
        """Removes the segments that lie before `offset` as a whole; the newest one stays."""
        with self._locked():
            segments = self._refresh()
            keep = max(0, bisect_right([segment.base for segment in segments], offset) - 1)
            remove(segments[:keep], self._fsync)
            self._segments = segments[keep:]

    def rewrite(self, change: Change, crash: Crash = lambda _point: None) -> None:
        """Replace events that are there now, segment by segment; others may read and write. One process at a time.

        The newest segment is ended first: only its end is looked for by its size.
        """
        for path in unfinished(self._folder):
            path.unlink()
        for segment in self._ended():
            try:
                new = rewritten(segment, int(self._folder.name), change, crash)
            except FileNotFoundError:
                if segment.path.exists():
                    raise
                continue  # it was removed meanwhile, as the oldest are
            if new is not None:
                self._replace(segment.path, new, crash)

    def _ended(self) -> list[Segment]:
        """All segments that have events, none of which will get more."""
        with self._locked():
            self._segments = []
            segments = list(self._refresh())
            if segments[-1].end == segments[-1].base:
                return segments[:-1]
            write_at(segments[-1].path, segments[-1].size, b"", self._fsync)  # without a torn tail
            begun = self._segment(segments[-1].end)
            write_at(begun.path, 0, segment_head(begun.base), self._fsync)
            sync(self._folder)
            return segments

    def _replace(self, path: Path, new: Path, crash: Crash) -> None:
        with self._locked():
            crash("segment written")
            if path.exists():  # else it must not come back
                new.replace(path)
                sync(self._folder)
                self._segments, self._reading = [], None
                crash("segment replaced")
            else:
                new.unlink()

    def remove_expired(self, before: int, consumers: Path) -> None:
        """Removes the oldest segments that have no event from time `before` (ms) on: `retention.remove_expired`."""
        with self._locked():
            self._segments = []  # they may have been rewritten
            remove_expired(self._refresh(), before, consumers, self._fsync)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex, flock(self._folder / "lock"):
            yield

    def _segment(self, base: int) -> Segment:
        return Segment(self._folder / f"{base:020d}.segment", base)

    def _refresh(self) -> list[Segment]:
        """All segments, with the last one read to its end; one empty segment when there is none."""
        names = os.listdir(self._folder)
        bases = sorted(int(name[: -len(".segment")]) for name in names if name.endswith(".segment"))
        if bases != [segment.base for segment in self._segments]:
            old = {segment.base: segment for segment in self._segments}
            self._segments = [old.get(base) or self._segment(base) for base in bases]
        if not self._segments:
            return [self._segment(0)]
        self._segments[-1].refresh()
        return self._segments

    def _read(self, offset: int, max_events: int) -> Chunk:
        segments, partition = self._segments, int(self._folder.name)
        if not segments or offset >= segments[-1].end:
            segments = self._refresh()
        check_offset(partition, segments[0].base, offset, segments[-1].end, str(self._folder.parent))
        if offset == segments[-1].end:
            return Chunk.consecutive(partition, offset, pa.RecordBatch.from_pylist([], EVENT_SCHEMA))
        segment = _segment_at(segments, offset)
        if self._reading is not None and self._reading is not segment:
            self._reading.release()
        self._reading = segment
        return Chunk.consecutive(partition, offset, segment.read(offset, max_events))


def _written(frames: Sequence[Payload], segment: Segment) -> tuple[bytearray, int]:
    """The bytes that append frames to a segment, and the offset after them."""
    data = bytearray() if segment.size else bytearray(segment_head(segment.base))
    offset = segment.end
    for payload in frames:
        data += payload.frame(offset)
        offset += payload.events
    return data, offset


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


@contextmanager
def flock(path: Path) -> Iterator[None]:
    """Hold the lock of other processes and threads on a file."""
    # Opened anew each time: a lock belongs to an open file, and a forked child would share its parent's.
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
