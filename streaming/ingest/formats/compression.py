"""Opening files that may be compressed, and their names without the suffix of the compression."""

from __future__ import annotations

import lzma
import os
import zlib
from pathlib import Path
from typing import IO, Any, Final
from zipfile import BadZipFile, ZipFile, is_zipfile

import pyarrow as pa

_CODECS: Final = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".xz": "xz", ".zip": "zip"}
COMPRESSIONS: Final = tuple(_CODECS)
"""Suffixes, in upper or lower case."""


def compressed(path: Path | str) -> bool:
    """Whether the file's name ends with the suffix of a compression."""
    return _suffix(path) in _CODECS


def content_suffix(path: Path | str) -> str:
    """The suffix of the content, in lower case: `.csv` of `clicks.CSV.gz`; empty without one."""
    if _suffix(path) == ".zip" and is_zipfile(path) and len(names := _inside(path)) == 1:
        return _suffix(names[0])
    return _suffix(os.path.splitext(path)[0]) if compressed(path) else _suffix(path)


def _suffix(path: Path | str) -> str:
    return os.path.splitext(path)[1].lower()


def open_content(path: Path | str) -> Any:
    """The uncompressed content, as a binary stream. Reading raises OSError where it is truncated or damaged, opening
    for a ZIP archive that does not hold one file.
    """
    codec = _CODECS.get(_suffix(path))
    if codec == "zip":
        return _Unpacked(_single(path))
    if codec == "xz":
        return _Unpacked(lzma.open(path))
    if codec is None and is_pipe(path):
        return _Pipe(path)
    return pa.input_stream(str(path), compression=codec)


def is_pipe(path: Path | str) -> bool:
    """Whether it can be read once only, such as a named pipe, or what a shell makes of `<(...)`."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def small_content(path: Path | str, most: int) -> bytes:
    """The uncompressed content of a file that has at most `most` bytes of it; empty for any other. Raises as reading
    does. Of plain files it is a third of the work of `open_content`.
    """
    if not os.path.isfile(path) or os.path.getsize(path) > most:
        return b""
    if compressed(path):
        content = open_content(path).read(most + 1)
    else:
        with open(path, "rb", buffering=0) as file:
            content = file.read(most + 1)
    return content if len(content) <= most else b""


def _single(path: Path | str) -> IO[bytes]:
    try:
        names = _inside(path)
        if len(names) == 1:
            return ZipFile(path).open(names[0])
    except (BadZipFile, RuntimeError) as error:  # RuntimeError: it needs a password
        raise OSError(f"cannot unpack it: {error}") from error
    raise OSError(f"a ZIP archive of {len(names)} files, of which one is expected: unpack it, and give the files")


def _inside(path: Path | str) -> list[str]:
    """The files in an archive, without the folders and what macOS adds."""
    with ZipFile(path) as archive:
        return [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]


class _Pipe:
    """What a pipe has, as it comes; Arrow would look for a place in it. It is closed at its end."""

    def __init__(self, path: Path | str) -> None:
        self._number: int | None = os.open(path, os.O_RDONLY)

    def read(self, size: int) -> bytes:
        found = b"" if self._number is None else os.read(self._number, size)
        if not found and self._number is not None:
            os.close(self._number)
            self._number = None
        return found


class _Unpacked:
    """Reads xz or ZIP, with the errors of the other codecs."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, lzma.LZMAError, BadZipFile, zlib.error) as error:
            raise OSError(f"Truncated or damaged compressed stream: {error}") from error
