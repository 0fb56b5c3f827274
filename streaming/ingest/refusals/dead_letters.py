"""Refused records with source, position and reason: a file of one JSON object per line."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from streaming.log.durable_files import replace

Entry = dict[str, Any]
"""A refused record as it stands in the file: the fields of a `DeadLetter`, `encoding` of the record and `truncated`."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record. `line` counts from 1, `byte` from 0; of Parquet, `line` is the row and `byte` is -1."""

    source: str
    line: int
    byte: int
    reason: str
    raw: bytes


class DeadLetters:
    """Appends to a JSONL file; many processes may share it. At most `max_raw` bytes of a record are kept."""

    def __init__(self, path: Path | str, max_raw: int = 8192) -> None:
        self.path = Path(path)
        self._max_raw = max_raw

    def write(self, letters: Iterable[DeadLetter]) -> None:
        """Append, durable on return. Raises OSError when the disk is full; then none of `letters` is written."""
        data = "".join(json.dumps(self._entry(letter), ensure_ascii=False) + "\n" for letter in letters).encode()
        if not data:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            size = file.seek(0, os.SEEK_END)
            # A killed writer may have left half a line: end it, so that the next one stays readable.
            data = b"\n" * (size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n") + data
            try:
                if file.write(data) != len(data):
                    raise OSError(f"{self.path}: only a part of the dead letters could be written")
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise

    def read(self) -> Iterator[Entry]:
        """The entries in the file; half a line left by a killed writer is skipped."""
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def count(self, chosen: Callable[[Entry], bool]) -> int:
        """How many entries are `chosen`."""
        return sum(map(chosen, self.read()))

    def remove(self, chosen: Callable[[Entry], bool]) -> None:
        """Remove entries, in one step and durably; lines that are no entries go, too. Others may write meanwhile."""
        if not self.path.exists():
            return
        with self._locked():
            kept = [entry for entry in self.read() if not chosen(entry)]
            replace(self.path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept).encode())

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        """The file, while no other process writes it."""
        while True:
            with self.path.open("a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if self.path.exists() and os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    yield file
                    return  # else entries were removed, and the file is another now

    def _entry(self, letter: DeadLetter) -> dict[str, Any]:
        kept = letter.raw[: self._max_raw]
        entry = asdict(letter) | {"truncated": len(kept) < len(letter.raw)}
        try:
            return entry | {"raw": kept.decode(), "encoding": "utf-8"}
        except UnicodeDecodeError:
            return entry | {"raw": base64.b64encode(kept).decode(), "encoding": "base64"}
