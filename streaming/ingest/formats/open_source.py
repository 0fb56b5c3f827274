"""The source for a file, by its suffix or the format that is named."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping as Names
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import pyarrow as pa

from recsys.errors import IngestError, InvalidValueError
from streaming.ingest.formats.column_names import column_names, listed
from streaming.ingest.formats.columnar_rows import ColumnarRows
from streaming.ingest.formats.compression import COMPRESSIONS, content_suffix, is_pipe
from streaming.ingest.formats.delimited import DelimitedRows
from streaming.ingest.formats.dialect import Dialect
from streaming.ingest.formats.libsvm import LibsvmRows
from streaming.ingest.formats.mapped_json import MappedJson
from streaming.ingest.formats.sources import JsonLines, Source
from streaming.ingest.formats.table_rows import FileTable
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes.mapped_table import MappedTable
from streaming.ingest.validation import MAX_LINE

Format = Literal["jsonl", "csv", "tsv", "parquet", "arrow", "orc", "recbole", "libsvm"]
SUFFIXES: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".feather": "arrow",
    ".arrow": "arrow",
    ".orc": "orc",
    ".inter": "recbole",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
    ".libfm": "libsvm",
}
_TAB: Final[dict[str, Any]] = {"delimiter": "\t", "quote": ""}
_DEFAULTS: Final[dict[Format, dict[str, Any]]] = {"csv": {}, "tsv": _TAB, "recbole": _TAB | {"typed": True}}


def open_source(
    path: Path | str,
    mapping: Mapping | None = None,
    max_line: int = MAX_LINE,
    format: Format | None = None,  # noqa: A002
    text: Names[str, Any] | None = None,
    name: str = "",
    sort_memory: int | None = None,
    patterns: Sequence[str] = (),
) -> Source:
    """The source for a file; without a `format` by its suffix. `text` has the settings of `Dialect` that were given;
    `sort_memory` is that of `MappedTable`; `patterns` are those of the mappings that do not fit.

    Raises InvalidValueError for a suffix that says nothing, for a table without a mapping, or with one that does not
    fit; IngestError for a file that cannot be read.

    >>> open_source("clicks.jsonl").name
    'clicks.jsonl'
    """
    found = format or format_of(path, mapping)
    try:
        if mapping is None:
            if found == "jsonl":
                return JsonLines(path, max_line, array=is_array(path))
            raise InvalidValueError(
                f"{path} is a table: write a [[log.mapping]] from its columns, {listed(column_names(path, found))}, to "
                "the fields of events, with a pattern `files` that fits the end of this path (docs/events.md); "
                f"`recsys init --from {shlex.quote(str(path))}` proposes one"
                f"{_unfitting(patterns)}"
            )
        return MappedTable(_table(path, mapping, max_line, found, text or {}, name), mapping, sort_memory)
    except pa.ArrowInvalid as error:
        raise InvalidValueError(f"{path} is not a file of {found}: {error}") from error
    except OSError as error:
        raise IngestError(f"{path}, from line 1 on: {error}") from error


def _unfitting(patterns: Sequence[str]) -> str:
    return f". These do not fit it: {listed(list(dict.fromkeys(patterns)))}" if patterns else ""


def _table(
    path: Path | str,
    mapping: Mapping,
    max_line: int,
    found: Format,
    text: Names[str, Any],
    name: str,
) -> FileTable:
    if text and found not in _DEFAULTS:
        raise InvalidValueError(f"{path}: {', '.join(text)} in its mapping are for CSV and TSV; this is {found}")
    if found != "jsonl" and is_pipe(path):
        raise InvalidValueError(f"{path} is a pipe, and {found} is looked at twice: write it into a file")
    if found == "jsonl":
        return MappedJson(path, mapping, max_line, name, array=is_array(path))
    if found == "libsvm":
        return LibsvmRows(path, mapping, max_line, name)
    if found in ("parquet", "arrow", "orc"):
        return ColumnarRows(path, mapping, name, found)
    return DelimitedRows(path, mapping, dialect(found, text), max_line, name)


def format_of(path: Path | str, mapping: Mapping | None = None) -> Format:
    """The format that the suffix says; a pipe has JSON lines. Raises InvalidValueError for any other suffix."""
    suffix = content_suffix(path)
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if Path(path).exists() and not Path(path).is_file():
        return "jsonl"
    where = "its [[log.mapping]]" if mapping is not None else "a [[log.mapping]] for it"
    raise InvalidValueError(
        f"{path}: the suffix {suffix or '(none)'} is not supported: {' '.join(SUFFIXES)}, also with "
        f'{" ".join(COMPRESSIONS)}; name the file so, or write format = "csv" (or {", ".join(get_args(Format))}) '
        f"in {where}"
    )


def dialect(format: Format, given: Names[str, Any]) -> Dialect:  # noqa: A002
    """The dialect of a format with the settings that were given. Raises InvalidValueError if they do not fit."""
    settings = _DEFAULTS[format] | dict(given)
    if len(settings.get("delimiter", ",")) > 1:
        settings = {"quote": ""} | settings
    return Dialect(**settings)


def check_name(path: Path | str) -> None:
    """Raises InvalidValueError for a name that is not UTF-8, which neither messages nor saved places could have."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise InvalidValueError(f"the name {shown!r} is not UTF-8: give the file another one") from None


def is_array(path: Path | str) -> bool:
    """Whether a file may hold one JSON array, by its suffix."""
    return content_suffix(path) == ".json" and Path(path).is_file()


def check_text(format: Format, given: Names[str, Any]) -> None:  # noqa: A002
    """Raises InvalidValueError for settings of delimited text that the format does not have, or that do not fit."""
    if format in _DEFAULTS:
        dialect(format, given)
    elif given:
        raise InvalidValueError(f"{', '.join(given)} are for CSV and TSV, not for {format}")
