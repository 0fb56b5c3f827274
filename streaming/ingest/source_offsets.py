"""How far each source was ingested, so that one with more events than the deduplication window can be read again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from xxhash import xxh3_128_hexdigest

from streaming.ingest.formats.sources import BEGIN, Position, Source
from streaming.log import durable_files


@dataclass(frozen=True, slots=True)
class SourceOffset:
    """Everything before `position` was ingested: `seen` events and `dead` records. `identity` hashes the content."""

    position: Position
    identity: str
    seen: int
    dead: int


class SourceOffsets:
    """One small file per source in `folder`. Remove the folder together with the log that it belongs to."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def find(self, source: str) -> SourceOffset | None:
        """The saved offset of the source; None without one, or when its file is damaged."""
        try:
            return msgspec.json.decode(self._path(source).read_bytes(), type=SourceOffset)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def save(self, source: str, offset: SourceOffset) -> None:
        """Durable on return."""
        self._folder.mkdir(parents=True, exist_ok=True)
        durable_files.replace(self._path(source), msgspec.json.encode(offset))

    def _path(self, source: str) -> Path:
        return self._folder / f"{xxh3_128_hexdigest(source.encode())}.json"


class OffsetTracker:
    """How far one source is read. Begins at `start`; without one at the source's offset, or else at its begin."""

    def __init__(self, source_offsets: SourceOffsets | None, source: Source, start: Position | None = None) -> None:
        self._source_offsets = source_offsets if start is None else None
        self._source = source
        self.name = source.name
        self.now = self._find() or SourceOffset(start or BEGIN, "", 0, 0)
        """Everything before it is in the log or in the dead letters. Its identity is filled in when it is saved."""
        self._ended: SourceOffset | None = None

    def move(self, position: Position, seen: int, dead: int, ended: bool) -> None:
        """Advance to `position`, after so many more records; only an `ended` position is saved, see `Block`."""
        self.now = SourceOffset(position, "", self.now.seen + seen, self.now.dead + dead)
        if ended:
            self._ended = self.now

    def save(self) -> None:
        """Make the offset durable."""
        if self._source_offsets is None or self._ended is None:
            return
        identity = self._source.identity(self._ended.position)
        if identity:
            self._source_offsets.save(self.name, replace(self._ended, identity=identity))
        self._ended = None

    def _find(self) -> SourceOffset | None:
        """None if the source is new or was replaced."""
        mark = self._source_offsets.find(self.name) if self._source_offsets is not None else None
        if mark is None or not mark.identity or mark.identity != self._source.identity(mark.position):
            return None
        return mark
