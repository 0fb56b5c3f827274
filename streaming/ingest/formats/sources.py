"""Sources of events: JSON lines, and what other sources share with it."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from streaming.ingest.formats.compression import compressed, open_content, small_content
from streaming.ingest.formats.json_array import as_lines
from streaming.ingest.validation import MAX_LINE

READ_BYTES = 1 << 20
IDENTITY_BYTES = 1 << 16
SMALL = 1 << 12
_NOTHING = xxh3_128_hexdigest(b"")
_MARK = b"\xef\xbb\xbf"  # a byte order mark, which is not part of JSON or CSV


@dataclass(frozen=True, slots=True)
class Position:
    """A record's line, from 1, and its first byte (of the uncompressed content), from 0; in Parquet its row."""

    line: int = 1
    byte: int = 0


BEGIN = Position()


@dataclass(frozen=True)
class Block:
    """Consecutive records as lines of JSON. A record that cannot become one is an empty line, with a fault."""

    lines: list[bytes]
    start: Position
    end: Position
    faults: Mapping[int, str] = field(default_factory=dict)
    """Why a record has no line, by its index."""
    position_of: Callable[[int], Position] | None = None
    raw_of: Callable[[int], bytes] | None = None
    """Position and content of a record; without these two the records are the lines."""
    unseen: int = 0
    """Bytes of the first line that were dropped."""
    ended: bool = True
    """False for a last line without its newline, which a writer may be about to complete."""
    divisible: bool = True
    """False when reading cannot continue in the middle, because the events of a block depend on each other."""

    def position(self, i: int) -> Position:
        """Where record `i` begins."""
        if self.position_of is not None:
            return self.position_of(i)
        return Position(self.start.line + i, self.start.byte + self._begins[i] + i + self.unseen * (i > 0))

    @cached_property
    def _begins(self) -> list[int]:
        """Bytes before each line, without newlines and `unseen`."""
        return list(accumulate(map(len, self.lines), initial=0))

    def raw(self, i: int) -> bytes:
        """Record `i` as written in the source."""
        return self.lines[i] if self.raw_of is None else self.raw_of(i)


@dataclass(frozen=True, slots=True)
class Valid:
    """Consecutive events that need no check, as an importer makes them."""

    events: pa.RecordBatch
    end: Position
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Columns:
    """Consecutive records as events, one each; only their times are still to be compared to the clock."""

    events: pa.RecordBatch
    end: Position
    position: Callable[[int], Position]
    """Where a record begins."""
    lines: Callable[[], Block]
    """The same records as lines, for the reason of each that is refused."""
    longest: int
    """Bytes that no line would be longer than."""
    ended: bool = True


class Source(Protocol):
    """A finite or endless stream of records."""

    @property
    def name(self) -> str: ...

    def blocks(self, start: Position) -> Iterator[Block] | Iterator[Valid] | Iterator[Block | Columns]:
        """All records from `start` on: the position of a record, or the end of an earlier block of this source."""
        ...

    def identity(self, before: Position) -> str:
        """Hash of (some of) the content before a position: equal if reading can continue there, empty if not."""
        ...


class JsonLines:
    """A file of lines, plain or compressed (by suffix: gz, bz2, zst, lz4, xz), or an open binary stream.

    Of a line longer than `max_line` only the first `max_line` + 1 bytes are held; it is refused when decoded. Bytes
    count in the content as UTF-8, whatever its `encoding`. With `array` the content may be one JSON array; its elements
    are the lines then.
    """

    def __init__(
        self,
        file: Path | str | Any,
        max_line: int = MAX_LINE,
        name: str = "",
        encoding: str = "utf-8",
        array: bool = False,
    ) -> None:
        self._file = file
        self._max_line = max_line
        self._name = name or str(file if isinstance(file, Path | str) else getattr(file, "name", "stream"))
        self._encoding = codecs.lookup(encoding).name
        self._array = array
        self._small: bytes | None = None
        """The content, if there is not more of it than `SMALL`: to open a file costs more than to keep that."""

    @property
    def name(self) -> str:
        return self._name

    def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
        stream = self._open()
        left = start.byte
        while left and (skipped := len(stream.read(min(left, READ_BYTES)))):
            left -= skipped
        # read1 returns what a pipe has; read would wait for a full block.
        return _blocks(getattr(stream, "read1", stream.read), self._max_line, start)

    def identity(self, before: Position) -> str:
        if not isinstance(self._file, Path | str) or not os.path.isfile(self._file):
            return ""
        if not before.byte:
            return _NOTHING
        plain = not compressed(self._file) and self._encoding == "utf-8"
        if plain and os.path.getsize(self._file) < before.byte:
            return ""  # shorter than before: another file, even if it begins alike
        stream, content = self._open(), b""
        while more := stream.read(min(before.byte, IDENTITY_BYTES) - len(content)):
            content += more
        return xxh3_128_hexdigest(content)

    def _open(self) -> Any:
        if self._small is None and isinstance(self._file, Path | str):
            self._small = small_content(self._file, SMALL)
        if self._small:
            stream: Any = BytesIO(self._small)
        else:
            stream = open_content(self._file) if isinstance(self._file, Path | str) else self._file
        if self._array:
            return as_lines(stream)
        return stream if self._encoding == "utf-8" else _AsUtf8(stream, self._encoding)


class _AsUtf8:
    """A stream of another encoding as UTF-8. Bytes that it does not have stay as they are, which is not UTF-8."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._ready = b""

    def read(self, size: int) -> bytes:
        while not self._ready and (data := self._stream.read(READ_BYTES)):
            self._ready = self._decode(data)
        if not self._ready:
            self._decode(b"", final=True)
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def _decode(self, data: bytes, final: bool = False) -> bytes:
        try:
            return self._decoder.decode(data, final).encode(errors="surrogateescape")
        except UnicodeError as error:
            raise OSError(f"not {self._encoding}: {error}") from error


class Batches:
    """An importer's events. A position's line is the event, from 1; `identity` is of the content, such as its card."""

    def __init__(self, name: str, batches: Iterable[pa.RecordBatch], identity: str = "") -> None:
        self._name = name
        self._batches = batches
        self._identity = identity and xxh3_128_hexdigest(identity.encode())

    @property
    def name(self) -> str:
        return self._name

    def blocks(self, start: Position = BEGIN) -> Iterator[Valid]:
        row = 1
        for batch in self._batches:
            known = min(max(0, start.line - row), batch.num_rows)
            row += batch.num_rows
            if known < batch.num_rows:
                yield Valid(batch.slice(known), Position(row))

    def identity(self, before: Position) -> str:  # noqa: ARG002
        return self._identity


def _blocks(read: Any, max_line: int, start: Position) -> Iterator[Block]:
    rest, unseen = b"", 0
    while data := read(READ_BYTES):
        if start.byte == 0 and not rest and data.startswith(_MARK):
            data, unseen = data[len(_MARK) :], len(_MARK)
        if len(rest) > max_line:  # inside a line that is too long: skip to its end
            end = data.find(b"\n")
            unseen += len(data) if end < 0 else end
            data = b"" if end < 0 else data[end:]
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            block = _block(lines, start, unseen, len(lines))
            yield block
            start, unseen = block.end, 0
        if len(rest) > max_line + 1:
            unseen += len(rest) - max_line - 1
            rest = rest[: max_line + 1]
    if rest:
        yield _block([rest], start, unseen, 0)


def _block(lines: list[bytes], start: Position, unseen: int, newlines: int) -> Block:
    size = sum(map(len, lines)) + newlines + unseen
    end = Position(start.line + len(lines), start.byte + size)
    return Block(lines, start, end, unseen=unseen, ended=newlines > 0)
