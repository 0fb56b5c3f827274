"""Refused records with source, position and reason: a file of one JSON object per line."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


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
        with self.path.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
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

    def read(self) -> Iterator[dict[str, Any]]:
        """The entries in the file; half a line left by a killed writer is skipped."""
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def _entry(self, letter: DeadLetter) -> dict[str, Any]:
        kept = letter.raw[: self._max_raw]
        entry = asdict(letter) | {"truncated": len(kept) < len(letter.raw)}
        try:
            return entry | {"raw": kept.decode(), "encoding": "utf-8"}
        except UnicodeDecodeError:
            return entry | {"raw": base64.b64encode(kept).decode(), "encoding": "base64"}
