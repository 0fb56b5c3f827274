"""The first rows of a file as columns, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from recsys.errors import InvalidValueError
from recsys.proposal.files import first_records, libsvm_sample, text, text_encoding
from recsys.proposal.files.text_lists import lists_of
from streaming.ingest.formats.columnar import MAGIC, Columnar
from streaming.ingest.formats.compression import content_suffix, open_content
from streaming.ingest.formats.encodings import wide_encoding
from streaming.ingest.formats.open_source import SUFFIXES, check_name

ROWS: Final = 10_000
"""Most rows that are looked at."""
BYTES: Final = 4 << 20
"""Most bytes of content that are looked at, of text."""
_LONG: Final = f"a line is longer than {BYTES >> 20} MiB, so that no rows can be looked at; let a row be a line"
_ZIP: Final = b"PK\x03\x04"
_COMPRESSED: Final = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ": ".xz"}


@dataclass(frozen=True)
class Sample:
    """The first rows: cells by column, in the order of the file; of nested records by path, as a mapping names them."""

    path: Path
    settings: Mapping[str, Any]
    """What the mapping has to say so that the file is read: format, delimiter, encoding and so on."""
    columns: Mapping[str, Sequence[Any]]
    rows: int
    whole: bool
    """Whether the file has no more rows."""
    native: bool = False
    """Whether it holds events as they are, for which there is no mapping."""
    notes: Sequence[str] = ()
    """What was noticed about the format, in words."""


def read_sample(path: Path, least: int = 2) -> Sample:
    """The first rows of a file. Raises InvalidValueError if it cannot be read as rows, or has fewer than `least`."""
    check_name(path)
    if path.is_dir():
        raise InvalidValueError(f"{path} is a folder; give the files in it, such as {path}/*.csv")
    if not path.exists():
        raise InvalidValueError(f"{path} does not exist")
    if not path.is_file():
        raise InvalidValueError(f"{path} is a pipe or device, which is read only once; write its content to a file")
    sample = _bounded(_read(path))
    sample = replace(sample, columns={name: lists_of(cells) for name, cells in sample.columns.items()})
    if sample.rows < least and not sample.whole:
        raise InvalidValueError(f"{path}: {_LONG}")
    if sample.rows < least:
        inner = [name for name, cells in sample.columns.items() if sample.rows == 1 and _several(cells[0])]
        if inner:
            name = inner[0].partition(".")[0]
            raise InvalidValueError(
                f"{path} is one object, and its records are in {name!r}: write one a line, such as: jq -c '.{name}[]'"
            )
        few = "has one row only" if sample.rows else "has a header and no rows" if sample.columns else "has no rows"
        raise InvalidValueError(f"{path} {few}: give a file with more rows, from which columns can be guessed")
    return sample


def _several(cell: Any) -> bool:
    return isinstance(cell, list) and len(cell) > 1


def _read(path: Path) -> Sample:
    suffix = content_suffix(path)
    _refuse_uncompressed(path)
    try:
        if (columnar := _columnar(path)) is not None:
            columns, rows, whole = first_records.columnar(path, ROWS, columnar)
            return Sample(path, {} if SUFFIXES.get(suffix) == columnar else {"format": columnar}, columns, rows, whole)
        head = bytes(open_content(path).read(BYTES + 1))
    except (OSError, pa.ArrowException) as error:
        raise InvalidValueError(f"{path} cannot be read: {error}") from error
    _refuse_binary(path, head)
    found = text_encoding.decode(path, head[:BYTES], whole=len(head) <= BYTES)
    if not found.whole and "\n" not in found.text and found.text.lstrip()[:1] != "[":
        raise InvalidValueError(f"{path}: {_LONG}")
    if found.text.lstrip()[:1] in ("{", "["):
        if found.encoding.startswith("utf-") and found.encoding != "utf-8":
            raise InvalidValueError(f"{path} is JSON in {found.encoding.upper()}: write it as UTF-8, as JSON has to be")
        columns, rows, native = first_records.json_objects(path, found, ROWS)
        settings = {} if suffix in (".jsonl", ".ndjson", ".json") else {"format": "jsonl"}
        return Sample(path, settings, columns, rows, found.whole and rows < ROWS, native)
    if libsvm_sample.fits(found):
        settings = {} if suffix in (".libsvm", ".svm", ".libfm") else {"format": "libsvm"}
        columns, rows = libsvm_sample.columns(found, ROWS)
        notes = ["Its columns have no names: #1 is the index that stands first in a line, #2 the second, and so on."]
        return Sample(path, settings, columns, rows, found.whole and rows < ROWS, notes=notes)
    table = text.table(path, found, suffix, ROWS)
    return Sample(path, table.settings, table.columns, table.rows, found.whole and table.rows < ROWS, notes=table.notes)


def _bounded(sample: Sample) -> Sample:
    most = first_records.COLUMNS
    if len(sample.columns) <= most:
        return sample
    note = f"It has more than {most} columns: the first {most} were looked at, and no others."
    kept = dict(islice(sample.columns.items(), most))
    return replace(sample, columns=kept, notes=[*sample.notes, note])


def _columnar(path: Path) -> Columnar | None:
    """The format of a file of columns, by how it begins; by its suffix for an error that names it."""
    with path.open("rb") as file:
        head = file.read(max(map(len, MAGIC)))
    found = next((format_ for magic, format_ in MAGIC.items() if head.startswith(magic)), None)
    return "parquet" if found is None and path.suffix.lower() == ".parquet" else found


def _refuse_uncompressed(path: Path) -> None:
    """Raises InvalidValueError for a file whose name alone says that it is compressed."""
    magic = next((magic for magic, suffix in _COMPRESSED.items() if suffix == path.suffix.lower()), b"")
    with path.open("rb") as file:
        head = file.read(len(magic))
    if head and not head.startswith(magic):
        what = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd", ".xz": "xz"}[path.suffix.lower()]
        raise InvalidValueError(f"{path} is not {what} compressed, as its name says: rename it to {path.stem}")


def _refuse_binary(path: Path, head: bytes) -> None:
    if not head.strip():
        raise InvalidValueError(f"{path} is empty")
    for magic, suffix in _COMPRESSED.items():
        if head.startswith(magic):
            raise InvalidValueError(f"{path} is compressed; let its name end with {suffix}")
    what = "a ZIP archive" if head.startswith(_ZIP) else ""
    if not what and not wide_encoding(head):
        odd = sum(head[:65_536].count(byte) for byte in (*range(9), *range(14, 27), 28, 29, 30, 31))
        what = "a binary file" if odd > len(head[:65_536]) // 50 else ""
    if what == "a binary file" and b"\0" not in head and head.isascii():
        between = next(byte for byte in head if byte < 32 and byte not in b"\t\n\r\f")
        raise InvalidValueError(
            f"{path} is text with control characters, such as \\x{between:02x}, between values: only a script can make "
            "columns of them"
        )
    if what:
        raise InvalidValueError(f"{path} is {what}, which is not read; write it as CSV, JSON lines or Parquet")
