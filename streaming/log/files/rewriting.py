"""Replacing events of a segment in its place.

The new file is written beside the old one, synced, and takes its name in one step: a kill -9 or a power cut leaves the
one or the other, and a reader finds whole frames in both. Frames keep their offsets and their numbers of events, so
that cursors stay valid.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from recsys.errors import LogCorruptedError
from streaming.log.event_log import Chunk
from streaming.log.files.segment import Payload, Segment, segment_head

Change = Callable[[Chunk], pa.RecordBatch]
"""From events to those that take their places, as many; the same object leaves them as they are."""
Crash = Callable[[str], None]
"""Called with the name of each point at which a test may kill."""


def unfinished(folder: Path) -> list[Path]:
    """What rewriting that was killed has left in a partition's folder."""
    return sorted(folder.glob(".*.rewritten"))


def rewritten(segment: Segment, partition: int, change: Change, crash: Crash) -> Path | None:
    """A file with the changed events of a whole segment, on disk; None if none of them changes.

    Raises LogCorruptedError, OSError.
    """
    path = segment.path.with_name(f".{segment.path.name}.rewritten")
    changed = False
    try:
        with path.open("wb") as file:
            file.write(segment_head(segment.base))
            for offset, frame, events in segment.frames():
                new = change(Chunk.consecutive(partition, offset, events))
                if new.num_rows != events.num_rows:
                    raise LogCorruptedError(f"{segment.path}: {events.num_rows} events would become {new.num_rows}")
                changed = changed or new is not events
                file.write(frame if new is events else Payload(new).frame(offset))
                crash("frame written")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if not changed:
        path.unlink()
        return None
    return path
