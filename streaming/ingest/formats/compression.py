"""Opening files that may be compressed, and their names without the suffix of the compression."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

_CODECS: Final = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".xz": "xz"}
COMPRESSIONS: Final = tuple(_CODECS)
"""Suffixes, in upper or lower case."""


def compressed(path: Path | str) -> bool:
    """Whether the file's name ends with the suffix of a compression."""
    return Path(path).suffix.lower() in _CODECS


def content_suffix(path: Path | str) -> str:
    """The suffix of the content, in lower case: `.csv` of `clicks.CSV.gz`; empty without one."""
    path = Path(path)
    return (Path(path.stem) if compressed(path) else path).suffix.lower()


def open_content(path: Path | str) -> Any:
    """The uncompressed content, as a binary stream. Reading raises OSError where it is truncated or damaged."""
    codec = _CODECS.get(Path(path).suffix.lower())
    return _Xz(lzma.open(path)) if codec == "xz" else pa.input_stream(str(path), compression=codec)


class _Xz:
    """Reads xz, with the errors of the other codecs."""

    def __init__(self, file: lzma.LZMAFile) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, lzma.LZMAError) as error:
            raise OSError(f"Truncated or damaged compressed stream: {error}") from error
