"""The first records of JSON lines and files of columns, flattened into columns by path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from recsys.errors import InvalidValueError
from recsys.proposal.files.text_encoding import Decoded
from streaming.events.columns import KINDS
from streaming.ingest.formats.columnar import Columnar, batches, schema

_DEPTH: Final = 4
COLUMNS: Final = 500
"""Most columns that are looked at; one more is read, so that it shows."""
_TOO_DEEP: Final = "is nested too deeply to be read; write the values that matter as fields of their own"
Columns = Mapping[str, list[Any]]


def columnar(path: Path, most: int, format: Columnar) -> tuple[Columns, int, bool]:  # noqa: A002
    """Columns of at most so many rows, their number, and whether these are all."""
    names = schema(path, format).names[: COLUMNS + 1]
    rows = list(islice((row for batch in batches(path, format, names) for row in batch.to_pylist()), most + 1))
    whole = len(rows) <= most
    return columns_of(rows[:most]) if rows else {name: [] for name in names}, min(len(rows), most), whole


def json_objects(path: Path, found: Decoded, most: int) -> tuple[Columns, int, bool]:
    """Columns of at most so many JSON lines, or of the elements of an array, their number, and whether they are events
    of this project. Raises InvalidValueError for anything but objects.
    """
    begun = found.text.lstrip()
    rows = list(islice(_elements(path, begun) if begun.startswith("[") else _lines(path, found.text), most))
    if not all(isinstance(row, dict) for row in rows):
        raise InvalidValueError(f"{path} has other JSON than objects; {_REMEDY}")
    native = bool(rows) and all(row.get("type") in KINDS for row in rows) and not any(map(_is_foreign, rows))
    return columns_of(rows), len(rows), native


def _is_foreign(event: dict[str, Any]) -> bool:
    """Whether an event has numbers as ids, or text as its time, which only a mapping reads."""
    ids = [event.get(name) for name in ("id", "user", "item", "impression")]
    items = event.get("items")
    ids += items if isinstance(items, list) else []
    return any(isinstance(one, int | float) for one in ids) or isinstance(event.get("time"), str | float)


_PYTHON: Final = (
    "it is written as Python: only a script can make JSON of it, such as: "
    "python -c 'import ast, json, sys; [print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]'"
)
_RECORDS: Final = re.compile(r'^(?:\t| {1,8})"(\w+)"\s*:\s*\[\s*\{', re.MULTILINE)
"""The first list of objects in an indented one."""
_OVER_LINES: Final = "write one object a line, such as with: jq -c ."
_REMEDY: Final = "write one object a line, such as with: jq -c '.[]'"


def _elements(path: Path, text: str) -> Iterator[Any]:
    """The elements of the array that the text begins with, until it breaks off."""
    decoder = json.JSONDecoder()
    at = 1
    while (begin := _NEXT.match(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, begin.end())
        except json.JSONDecodeError:
            return
        except RecursionError:
            raise InvalidValueError(f"{path}: an element of its array {_TOO_DEEP}") from None
        yield value


_NEXT: Final = re.compile(r"[\s,]*(?=[^\s,\]])")


def _lines(path: Path, text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                yield msgspec.json.decode(line.encode())
        except RecursionError:
            raise InvalidValueError(f"{path}, line {number} {_TOO_DEEP}") from None
        except msgspec.DecodeError as error:
            if number == 1:  # a torn line later on costs itself alone
                if inner := _RECORDS.search(text):
                    raise InvalidValueError(
                        f"{path} is one object over several lines, and its records seem to be in {inner[1]!r}: write "
                        f"one a line, such as: jq -c '.{inner[1]}[]'"
                    ) from None
                remedy = _PYTHON if re.match(r"\s*\{\s*u?'", line) else _OVER_LINES if line.strip() == "{" else _REMEDY
                raise InvalidValueError(f"{path}, line 1 is not one JSON object ({error}); {remedy}") from None


def columns_of(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Cells by path; None where a row lacks one. Through a list a path leads to the values of all its elements.

    Paths that come after the first `COLUMNS` + 1 are left out.
    """
    columns: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        for path, value in _flat(row, "", 0):
            if len(columns) > COLUMNS and path not in columns:
                continue
            column = columns.setdefault(path, [])
            column.extend([None] * (number - len(column)))
            if len(column) == number:
                column.append(value)
        count = number + 1
        for column in columns.values():
            column.extend([None] * (count - len(column)))
    return columns


def _flat(row: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and depth < _DEPTH:
            yield from _flat(value, f"{path}.", depth + 1)
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            elements = [dict(_flat(one, "", depth + 1)) for one in value]
            for inner in dict.fromkeys(key for one in elements for key in one):
                yield f"{path}.{inner}", [one.get(inner) for one in elements]
        else:
            yield path, value
