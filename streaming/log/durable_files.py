"""Writing files so that a crash or a full disk leaves either the old or the new content."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes) -> None:
    """Set the content of `path` in one step, durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def write_at(path: Path, position: int, data: bytes | bytearray, fsync: bool) -> None:
    """Make `data` the content of `path` from `position` on; on any error, cut the file back to `position`."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(fd, position)
        try:
            _write_all(fd, data, position)
            if fsync:
                os.fsync(fd)
        except BaseException:
            os.ftruncate(fd, position)
            raise
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes | bytearray, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, position)
        view = view[written:]
        position += written
