"""How far each source was ingested, so that a source larger than the window of duplicates can be read again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from xxhash import xxh3_128_hexdigest

from streaming import files
from streaming.sources import Position, Source


@dataclass(frozen=True, slots=True)
class Bookmark:
    """What is before `position` was ingested: `seen` events, and `dead` records. `identity` is of the content."""

    position: Position
    identity: str
    seen: int
    dead: int


class Bookmarks:
    """One small file per source in `folder`. Remove the folder together with the log that it belongs to."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def find(self, source: str) -> Bookmark | None:
        """That of the source; None without one, and when the file is not ours."""
        try:
            return msgspec.json.decode(self._path(source).read_bytes(), type=Bookmark)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def save(self, source: str, bookmark: Bookmark) -> None:
        """Durable on return."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files.replace(self._path(source), msgspec.json.encode(bookmark))

    def _path(self, source: str) -> Path:
        return self._folder / f"{xxh3_128_hexdigest(source.encode())}.json"


class Marker:
    """The bookmark of one source while it is read: saved after every `every` records, and at the end."""

    def __init__(self, bookmarks: Bookmarks | None, source: Source, every: int) -> None:
        self._bookmarks = bookmarks
        self._source = source
        self._every = every
        self._now: Bookmark | None = None
        self._saved = 0

    def find(self) -> Bookmark | None:
        """Where to read on; None when the source was not read before, or is another one now."""
        mark = self._bookmarks.find(self._source.name) if self._bookmarks is not None else None
        if mark is None or not mark.identity or mark.identity != self._source.identity(mark.position):
            return None
        self._saved = mark.seen + mark.dead
        return mark

    def move(self, bookmark: Bookmark) -> None:
        """Everything before it is in the log or in the dead letters. Its identity is filled in when it is saved."""
        self._now = bookmark
        if bookmark.seen + bookmark.dead - self._saved >= self._every:
            self.save()

    def save(self) -> None:
        if self._bookmarks is None or self._now is None:
            return
        identity = self._source.identity(self._now.position)
        if identity:
            self._bookmarks.save(self._source.name, replace(self._now, identity=identity))
        self._saved = self._now.seen + self._now.dead
