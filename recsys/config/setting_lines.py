"""Where a setting stands in the text of `recsys.toml`."""

from __future__ import annotations

import re
from collections import Counter

Location = tuple[int | str, ...]
"""Names of tables and keys, and indices (from 0) into lists."""


def line_of(text: str, location: Location) -> int:
    """The line (from 1) of a key, of the nearest table that would hold it, or of the first thing in it.

    >>> line_of("[log]\\npartitions = 0\\n", ("log", "partitions"))
    2
    """
    best, best_line = -1, 1
    for path, number in _paths(text):
        depth = _common(path, location)
        if depth in (len(path), len(location)) and depth > best:
            best, best_line = depth, number
    return best_line


def _common(path: Location, wanted: Location) -> int:
    depth = 0
    for a, b in zip(path, wanted, strict=False):
        if a != b:
            break
        depth += 1
    return depth


def _paths(text: str) -> list[tuple[Location, int]]:
    """Every table header and key with its line."""
    found: list[tuple[Location, int]] = []
    arrays: Counter[str] = Counter()
    table: Location = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]", line):
            names = header[2].replace('"', "").replace("'", "")
            if header[1] == "[[":
                arrays[names] += 1
            table = _indexed(names.split("."), arrays)
            found.append((table, number))
        elif key := re.match(r"\s*([\w.\"-]+)\s*=", line):
            found.append(((*table, *key[1].replace('"', "").split(".")), number))
    return found


def _indexed(names: list[str], arrays: Counter[str]) -> Location:
    path: list[int | str] = []
    for depth, name in enumerate(names, 1):
        path.append(name)
        if count := arrays[".".join(names[:depth])]:
            path.append(count - 1)
    return tuple(path)
