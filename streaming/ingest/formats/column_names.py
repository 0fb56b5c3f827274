"""The columns of a table that has no mapping yet, for a message."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

from streaming.ingest.formats.columnar import MAGIC, Columnar, schema
from streaming.ingest.formats.compression import open_content

_HEADER_BYTES = 1 << 16
_SHOWN = 20


def column_names(path: Path | str, format: str) -> list[str]:  # noqa: A002
    """The names in the schema of a file of columns, or in the first line of text; as a mapping has them.

    Raises OSError for a file that cannot be read, pyarrow's ArrowInvalid for one of another format.
    """
    if format in MAGIC.values():
        return list(schema(path, cast("Columnar", format)).names)
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
