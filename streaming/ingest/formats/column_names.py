"""The columns of a table that has no mapping yet, for a message."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq

from streaming.ingest.formats.compression import open_content

_HEADER_BYTES = 1 << 16
_SHOWN = 20


def column_names(path: Path | str, format: str) -> list[str]:  # noqa: A002
    """The names in a Parquet file's schema, or in the first line of CSV, TSV or RecBole's files; as a mapping has them.

    Raises OSError for a file that cannot be read, pyarrow's ArrowInvalid for one that is not Parquet.
    """
    if format == "parquet":
        return list(pq.read_schema(path).names)
    if format == "libsvm":
        return ["label", "qid", "indices"]
    first, _, _ = open_content(path).read(_HEADER_BYTES).partition(b"\n")
    text = first.decode("utf-8-sig", errors="replace").strip("\r")
    names = next(csv.reader([text], delimiter="," if format == "csv" else "\t"), [])
    return [name.rpartition(":")[0] or name for name in names] if format == "recbole" else names


def listed(names: list[str]) -> str:
    """In words.

    >>> listed(["user", "at"])
    "'user', 'at'"
    """
    return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
