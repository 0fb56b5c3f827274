"""One file of a partition: a header, then frames that hold consecutive events.

    segment = magic 8s | version u32 | base offset u64 | checksum u64, then frames
    frame   = offset u64 | events u32 | stored bytes u32 | raw bytes u32 | payload checksum u64 | header checksum u64,
              then the payload: an Arrow record batch message (EVENT_SCHEMA), compressed as a whole by LZ4

Numbers are little-endian, checksums XXH3-64. Writers only ever append, so a writer that was killed leaves a prefix of
its frame, and a machine that lost power may leave zeros: both end the segment. Anything else is corruption.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from recsys.errors import LogCorruptedError, LogError
from streaming.events.schema import EVENT_SCHEMA

_HEAD = struct.Struct("<8sIQ")
_FRAME = struct.Struct("<QIIIQ")
_SUM = struct.Struct("<Q")
HEAD_BYTES = _HEAD.size + _SUM.size
FRAME_BYTES = _FRAME.size + _SUM.size
FRAME_LIMIT = 64 << 20
MAGIC, VERSION = b"EVENTLOG", 1
CODEC = pa.Codec("lz4")


def _sealed(head: bytes) -> bytes:
    return head + _SUM.pack(xxh3_64_intdigest(head))


def _intact(head: bytes) -> bool:
    body, checksum = head[: -_SUM.size], head[-_SUM.size :]
    return bool(_SUM.pack(xxh3_64_intdigest(body)) == checksum)


def _events(frame: bytes) -> pa.RecordBatch:
    *_, raw_bytes, _ = _FRAME.unpack_from(frame)
    raw = CODEC.decompress(memoryview(frame)[FRAME_BYTES:], decompressed_size=raw_bytes)
    return pa.ipc.read_record_batch(raw, EVENT_SCHEMA)


def segment_head(base: int) -> bytes:
    return _sealed(_HEAD.pack(MAGIC, VERSION, base))


def payloads(events: pa.RecordBatch, most: int) -> Iterator[Payload]:
    """Cut `events` into frames of at most `most` events and, but for a single larger event, 64 MiB."""
    for start in range(0, events.num_rows, most):
        piece = events.slice(start, most)
        if piece.nbytes > FRAME_LIMIT and piece.num_rows > 1:
            yield from payloads(piece, -(-piece.num_rows // 2))
        else:
            yield Payload(piece)


class Payload:
    """Events ready to be written; only their offset is still open."""

    __slots__ = ("_checksum", "_raw_bytes", "_stored", "events")

    def __init__(self, events: pa.RecordBatch) -> None:
        raw = events.serialize()
        self.events: int = events.num_rows
        self._raw_bytes = raw.size
        self._stored = CODEC.compress(raw, asbytes=True)
        self._checksum = xxh3_64_intdigest(self._stored)

    def frame(self, offset: int) -> bytes:
        head = _FRAME.pack(offset, self.events, len(self._stored), self._raw_bytes, self._checksum)
        return _sealed(head) + bytes(self._stored)


class Segment:
    """Reads one segment. Knows where the frames are as far as it has looked; `refresh` looks further."""

    def __init__(self, path: Path, base: int) -> None:
        self.path = path
        self.base = base
        self._forget()

    def _forget(self) -> None:
        # Entry i is where frame i begins; the last entry is where the next frame will.
        self._offsets = array("Q", [self.base])
        self._positions = array("Q", [HEAD_BYTES])
        self._headed = False
        self._kept: tuple[int, pa.RecordBatch] | None = None

    @property
    def end(self) -> int:
        """The offset after the last event."""
        return self._offsets[-1]

    @property
    def size(self) -> int:
        """The position after the last whole frame; 0 when not even the header is whole."""
        return self._positions[-1] if self._headed else 0

    def refresh(self) -> None:
        """Find frames appended since the last look, or all of them anew if some are gone. Raises LogCorruptedError."""
        with self.path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size < self.size:  # a writer on a full disk cut its frame off again, or the file was truncated
                self._forget()
            if not self._headed and not self._read_head(file.fileno(), size):
                return
            while self._next_frame(file.fileno(), size):
                pass

    def read(self, offset: int, max_events: int) -> pa.RecordBatch:
        """Events from `offset` (base <= offset < end) to the end of a frame, at most `max_events`."""
        first = last = bisect_right(self._offsets, offset) - 1
        while last + 2 < len(self._offsets) and self._offsets[last + 2] - offset <= max_events:
            last += 1
        batches = [self._frame(i) for i in range(first, last + 1)]
        events = batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
        return events.slice(offset - self._offsets[first], max_events)

    def backwards(self) -> Iterator[pa.RecordBatch]:
        """The events of each frame, the last frame first. Raises LogCorruptedError."""
        self.refresh()
        return map(self._decode, reversed(range(len(self._offsets) - 1)))

    def frames(self) -> Iterator[tuple[int, bytes, pa.RecordBatch]]:
        """The offset, the bytes and the events of each frame. Raises LogCorruptedError."""
        self.refresh()
        for i in range(len(self._offsets) - 1):
            data = self._stored(i)
            yield self._offsets[i], data, _events(data)

    def release(self) -> None:
        """Give up the frame that is kept for reading in small steps."""
        self._kept = None

    def _frame(self, i: int) -> pa.RecordBatch:
        if self._kept is None or self._kept[0] != i:
            self._kept = (i, self._decode(i))
        return self._kept[1]

    def _decode(self, i: int) -> pa.RecordBatch:
        return _events(self._stored(i))

    def _stored(self, i: int) -> bytes:
        """The bytes of a frame, which are as they were written."""
        position, length = self._positions[i], self._positions[i + 1] - self._positions[i]
        with self.path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, position)
        head, stored = data[:FRAME_BYTES], memoryview(data)[FRAME_BYTES:]
        if len(data) < length or not _intact(head):
            raise self._corrupted(position, "the frame is not the one that was there before")
        offset, events, _, _, checksum = _FRAME.unpack_from(head)
        if offset != self._offsets[i]:
            raise self._corrupted(position, f"a frame says offset {offset}, {self._offsets[i]} is due")
        if xxh3_64_intdigest(stored) != checksum:
            raise self._corrupted(position, f"the checksum of {events} events from offset {self._offsets[i]} is wrong")
        return data

    def _read_head(self, fd: int, size: int) -> bool:
        head = os.pread(fd, HEAD_BYTES, 0)
        if len(head) < HEAD_BYTES or self._only_zeros(fd, 0, size):
            return False
        if not _intact(head):
            raise self._corrupted(0, "the checksum of the segment's header is wrong")
        magic, version, base = _HEAD.unpack_from(head)
        if (magic, version) != (MAGIC, VERSION):
            raise LogError(f"{self.path} has format {magic!r} {version}, this release reads {MAGIC!r} {VERSION}")
        if base != self.base:
            raise self._corrupted(0, f"the header says offset {base}, the file name {self.base}")
        self._headed = True
        return True

    def _next_frame(self, fd: int, size: int) -> bool:
        position = self._positions[-1]
        head = os.pread(fd, FRAME_BYTES, position)
        if len(head) < FRAME_BYTES:
            return False
        if not _intact(head):
            if self._only_zeros(fd, position, size):
                return False
            raise self._corrupted(position, "the checksum of a frame's header is wrong")
        offset, events, stored_bytes, _, _ = _FRAME.unpack_from(head)
        if offset != self.end:
            raise self._corrupted(position, f"a frame says offset {offset}, {self.end} is due")
        if position + FRAME_BYTES + stored_bytes > size:
            return False
        self._offsets.append(offset + events)
        self._positions.append(position + FRAME_BYTES + stored_bytes)
        return True

    @staticmethod
    def _only_zeros(fd: int, position: int, size: int) -> bool:
        while position < size:
            data = os.pread(fd, 1 << 20, position)
            if not data or data.strip(b"\0"):
                return not data
            position += len(data)
        return True

    def _corrupted(self, position: int, why: str) -> LogCorruptedError:
        return LogCorruptedError(
            f"{self.path} is corrupted at byte {position}: {why}. Restore the file from a copy; or, to give up what "
            f"lies behind this point, cut it there (truncate -s {position}) and remove the later segments."
        )
