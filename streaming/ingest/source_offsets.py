"""How far each source was ingested, so that one with more events than the deduplication window can be read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from xxhash import xxh3_64_intdigest

from recsys.errors import LogError
from streaming.ingest.formats.sources import BEGIN, Position, Source
from streaming.log import durable_files
from streaming.log.identity import difference

FILES = 16
"""Among which the sources are spread: few, because each that changes waits for the disk, and each small to rewrite."""


@dataclass(frozen=True, slots=True)
class SourceOffset:
    """Everything before `position` was ingested: `seen` events and `dead` records. `identity` hashes the content."""

    position: Position
    identity: str
    seen: int
    dead: int


class SourceOffsets:
    """The offsets of all sources, in a few files in `folder`. Remove the folder together with the log that it is of.

    `identity` is the log's, "" where that is unknown; the folder keeps it. Raises LogError when it keeps another one.
    """

    def __init__(self, folder: Path | str, identity: str = "") -> None:
        self._folder, self._identity = Path(folder), identity
        self._log = self._folder / "log"
        known = self._log.read_text() if identity and self._log.exists() else ""
        if why := difference(known, identity):
            raise LogError(
                f"{folder} has how far files were read into a log that is not the one at [log] url: {why}. Write the "
                "url of that log; or move the folder away, and files are read into this log from their beginnings"
            )

    def find(self, sources: Iterable[str]) -> dict[str, SourceOffset]:
        """The saved offsets of those sources that have one. A damaged file is as none."""
        found: dict[str, SourceOffset] = {}
        for path, names in self._by_file(sources).items():
            known = _read(path)
            found |= {name: known[name] for name in names if name in known}
        return found

    def save(self, offsets: Mapping[str, SourceOffset]) -> None:
        """Durable on return. The offsets of other sources stay."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._identity and not self._log.exists():
            durable_files.replace(self._log, self._identity.encode())
        for path, names in self._by_file(offsets).items():
            durable_files.replace(path, msgspec.json.encode(_read(path) | {name: offsets[name] for name in names}))

    def _by_file(self, sources: Iterable[str]) -> dict[Path, list[str]]:
        names: dict[int, list[str]] = {}
        for source in sources:
            names.setdefault(xxh3_64_intdigest(source.encode()) % FILES, []).append(source)
        return {self._folder / f"{number:02}.json": names[number] for number in names}


def _read(path: Path) -> dict[str, SourceOffset]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, SourceOffset])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


class OffsetTracker:
    """How far one source is read. Begins at `known`, if the source still has the content that was read then."""

    def __init__(self, source: Source, start: Position = BEGIN, known: SourceOffset | None = None) -> None:
        self._source = source
        self.name = source.name
        fits = known is not None and known.identity and known.identity == source.identity(known.position)
        self.now = known if known is not None and fits else SourceOffset(start, "", 0, 0)
        """Everything before it is in the log or in the dead letters. Its identity is filled in when it is saved."""
        self._ended: SourceOffset | None = None

    def move(self, position: Position, seen: int, dead: int, ended: bool) -> None:
        """Advance to `position`, after so many more records; only an `ended` position is saved, see `Block`."""
        self.now = SourceOffset(position, "", self.now.seen + seen, self.now.dead + dead)
        if ended:
            self._ended = self.now

    def unsaved(self) -> SourceOffset | None:
        """The offset to save, with its identity; None if it has not moved since the last call, or has no identity."""
        ended, self._ended = self._ended, None
        identity = self._source.identity(ended.position) if ended is not None else ""
        return replace(ended, identity=identity) if ended is not None and identity else None


def trackers(sources: Sequence[Source], start: Position | None, offsets: SourceOffsets | None) -> list[OffsetTracker]:
    """A tracker of each source, at `start`; without one at its saved offset."""
    if start is not None or offsets is None:
        return [OffsetTracker(source, start or BEGIN) for source in sources]
    known = offsets.find(source.name for source in sources)
    return [OffsetTracker(source, known=known.get(source.name)) for source in sources]


def save(moved: Sequence[OffsetTracker], offsets: SourceOffsets | None) -> None:
    """Make what the trackers have reached durable."""
    if offsets is None:
        return
    unsaved = ((tracker.name, tracker.unsaved()) for tracker in moved)
    if fresh := {name: offset for name, offset in unsaved if offset is not None}:
        offsets.save(fresh)


def places(positions: Sequence[tuple[str, Position]], most: int = 3) -> str:
    """Where to continue, for a message; of many sources the first.

    >>> places([("a.jsonl", Position(4)), ("b.jsonl", BEGIN)], most=1)
    'a.jsonl, from line 4 on; and 1 more'
    """
    named = [f"{name}, from line {at.line} on" for name, at in positions[:most]]
    return "; ".join(named if len(positions) <= most else [*named, f"and {len(positions) - most} more"])
