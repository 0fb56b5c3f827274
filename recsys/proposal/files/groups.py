"""Files that are parts of one, and a pattern for their paths."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileGroup:
    """Files of one kind, in the order given, and the pattern that fits them."""

    paths: Sequence[Path]
    pattern: str


def groups(paths: Sequence[Path]) -> list[FileGroup]:
    """Files whose paths differ only in numbers belong together; those without content are left out.

    >>> [one.pattern for one in groups([Path("a/part-0.csv"), Path("a/part-1.csv"), Path("b/part-0.csv")])]
    ['a/part-*.csv', 'b/part-0.csv']
    """
    found: dict[str, list[Path]] = {}
    for path in dict.fromkeys(paths):
        if not (path.is_file() and not path.stat().st_size and len(paths) > 1):
            found.setdefault(re.sub(r"\d+", "0", str(path)), []).append(path)
    names = [{path.name for path in one} for one in found.values()]
    made: list[FileGroup] = []
    for one, own in zip(found.values(), names, strict=True):
        alone = sum(bool(own & other) or _alike(own, other) for other in names) == 1
        depth = 1 if alone else 2
        made.append(FileGroup(one, _pattern([_end(path, depth) for path in one])))
    return made


def _alike(one: set[str], other: set[str]) -> bool:
    return re.sub(r"\d+", "0", min(one)) == re.sub(r"\d+", "0", min(other))


def _end(path: Path, depth: int) -> str:
    return "/".join(path.absolute().parts[-depth:])


def _pattern(ends: Sequence[str]) -> str:
    """The texts with a star for the numbers in which they differ."""
    pieces = [re.split(r"(\d+)", end) for end in ends]
    return "".join(glob.escape(column[0]) if len(set(column)) == 1 else "*" for column in zip(*pieces, strict=True))
