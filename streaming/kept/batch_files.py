"""Files of training batches.

FOLDER/RUN/steps-FIRST-LAST-CLOCK-HASH.arrow    the batches of these steps of a run (see `streaming.kept.batch_format`),
                                                the event time that the log was read up to, XXH3-64 of the content
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from xxhash import xxh3_64_hexdigest

from recsys.errors import StateError
from streaming.kept.batch_format import BatchFileWriter, BatchOrigin, KeptBatch, origin_of, read_batches
from streaming.log.durable_files import replace, sync

_NAME = re.compile(r"steps-(\d+)-(\d+)-(\d+)-([0-9a-f]{16})\.arrow")
_UNFINISHED = ".steps-*.arrow.*"
"""What `replace` writes before a file has its name."""


class BatchFile(NamedTuple):
    """A file, as far as its name tells."""

    first: int
    last: int
    clock: int
    """The event time up to which the log was read for its last batch, ms."""
    digest: str
    path: Path

    def batches(self) -> Iterator[KeptBatch]:
        """Raises StateError when they are not what was written."""
        return iter(self.content())

    def rows_of(self, users: Sequence[str]) -> int:
        """How many rows are of these users; 0 once it is removed. Raises StateError as `batches`."""
        with suppress(FileNotFoundError):
            return self.content().rows_of(users)
        return 0

    def drop(self, users: Sequence[str]) -> None:
        """Write it anew without the rows of these users, if it is there and has any. Raises StateError as `batches`."""
        with suppress(FileNotFoundError):  # retention has removed it
            content = self.content()
            if content.rows_of(users):
                self.rewrite(content.origin, content.without(users))

    def rewrite(self, origin: BatchOrigin, batches: Iterable[KeptBatch]) -> None:
        """Put these batches, at least one, in its place."""
        new = GrowingFile(origin)
        for kept in batches:
            new.add(kept)
        if new.finish().write(self.path.parent) != self.path:
            self.path.unlink(missing_ok=True)
            sync(self.path.parent)

    def content(self) -> FileContent:
        """Raises StateError when it is not what was written."""
        data = self.path.read_bytes()
        if xxh3_64_hexdigest(data) != self.digest:
            raise StateError(f"{self.path} is damaged: restore it from a copy, or replay the log instead")
        return FileContent(pa.py_buffer(data))


class FileContent:
    """What was read of a file, once: its batches, and what they were made by."""

    def __init__(self, data: pa.Buffer) -> None:
        self._data, self.origin = data, origin_of(data)

    def __iter__(self) -> Iterator[KeptBatch]:
        return read_batches(self._data)

    def rows_of(self, users: Sequence[str]) -> int:
        """How many rows are of these users."""
        return sum(len(kept.batch) - len(less.batch) for kept, less in zip(self, self.without(users), strict=True))

    def without(self, users: Sequence[str]) -> Iterator[KeptBatch]:
        """The batches without the rows of these users."""
        spec = self.origin.spec
        return (kept.without(users, spec) for kept in self)


class GrowingFile:
    """Batches for one file, compressed in memory until it is written."""

    def __init__(self, origin: BatchOrigin) -> None:
        self._writer = BatchFileWriter(origin)
        self._first: int | None = None
        self._last = self._clock = 0

    def __bool__(self) -> bool:
        """Whether there is any batch."""
        return self._first is not None

    def add(self, kept: KeptBatch) -> None:
        self._writer.add(kept)
        self._first = kept.step if self._first is None else self._first
        self._last, self._clock = kept.step, kept.batch.clock

    def finish(self) -> EndedFile:
        """There is a batch; none can be added any more."""
        return EndedFile(self._first or 0, self._last, self._clock, self._writer.finish())


class EndedFile(NamedTuple):
    """A file that is to be written."""

    first: int
    last: int
    clock: int
    data: pa.Buffer

    def write(self, folder: Path, *, durably: bool = True) -> Path:
        """In one step, if it is to be durable. Raises OSError."""
        name = f"steps-{self.first:012d}-{self.last:012d}-{self.clock}-{xxh3_64_hexdigest(self.data)}.arrow"
        if durably:
            replace(folder / name, self.data)
        else:
            (folder / name).write_bytes(self.data)
        return folder / name


def batch_files(run: Path) -> list[BatchFile]:
    """The files of a run, in the order of their steps."""
    found = ((_NAME.fullmatch(path.name), path) for path in run.iterdir())
    return sorted(BatchFile(int(name[1]), int(name[2]), int(name[3]), name[4], path) for name, path in found if name)


def remove_unfinished(run: Path) -> None:
    """Remove what a writer that was killed has left; one that still writes fails and has to write again."""
    for path in run.glob(_UNFINISHED):
        path.unlink(missing_ok=True)


def remove_before(folder: Path, clock: int) -> None:
    """Remove the files of all runs in `folder` whose last batch is older than this event time (ms)."""
    for run in (path for path in folder.iterdir() if path.is_dir()):
        files = batch_files(run)
        old = [file for file in files if file.clock < clock]
        for file in old:
            file.path.unlink(missing_ok=True)
        if files and len(old) == len(files):
            remove_unfinished(run)
            with suppress(OSError):  # somebody has put something else there
                run.rmdir()
