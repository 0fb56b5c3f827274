"""libsvm and libFM files, whose lines have a label and pairs of index and value."""

from __future__ import annotations

import re
from typing import Any, Final

from recsys.proposal.files.text_encoding import Decoded

_LINE: Final = re.compile(r"[+-]?[\d.]+( +(qid|\d+):[+-]?[\d.eE+-]+)+\s*(#.*)?")
_TRIED: Final = 100


def fits(found: Decoded) -> bool:
    """Whether the first lines are such."""
    lines = [line for line in found.text.split("\n", _TRIED)[:_TRIED] if line.strip() and not line.startswith("#")]
    return bool(lines) and all(_LINE.fullmatch(line.rstrip("\r")) for line in lines[: _TRIED - 1])


def columns(found: Decoded, most: int) -> tuple[dict[str, list[Any]], int]:
    """Cells by the columns that a mapping can name, without single indices: label, qid, and #1, #2, ..."""
    rows: list[dict[str, str]] = []
    for line in found.text.split("\n"):
        label, *pairs = line.partition("#")[0].split() or [""]
        if len(rows) < most and label:
            indices = [pair.partition(":")[0] for pair in pairs]
            queries = [pair[4:] for pair in pairs if pair.startswith("qid:")]
            row = {"label": label} | ({"qid": queries[0]} if queries else {})
            rows.append(row | {f"#{n}": index for n, index in enumerate((i for i in indices if i != "qid"), 1)})
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}, len(rows)
