"""How many rows a step of training takes, by how many there are to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.config.sections.learning.training import TrainingSection
from streaming.ingest.formats.compression import open_content

_BATCHES: Final = 4
"""Fewest batches from which something is learned that one can look at."""
_STEPS: Final = 3_000
"""Steps that a log should give, where they need not be smaller than `SMALLEST` for it."""
SMALLEST: Final = 32
"""Rows of a step below which only too few rows for `_BATCHES` lead."""
_HEAD: Final = 1 << 20
"""Bytes of a text whose lines are counted."""


def step_size(rows: int) -> int:
    """`[training] batch_size` for so many shown items: a power of two, at most the default.

    Few rows teach more in small steps (docs/train.md has three logs), and a step's fixed time is paid for few.

    >>> [step_size(rows) for rows in (3, 1_000, 100_000, 500_000, 1_000_000)]
    [1, 32, 32, 128, 256]
    """
    wanted = max(SMALLEST, rows // _STEPS)
    size = min(wanted, max(1, rows // _BATCHES), TrainingSection().batch_size)
    return 1 << (size.bit_length() - 1)


def shown_items(files: Sequence[Path], found: int, read: int) -> float:
    """How many all files have, if the first `read` rows of them have `found`; no fewer than those.

    Files are looked at until there are enough for the default, however many there are.
    """
    if not found:
        return 0.0
    rows, enough = 0, TrainingSection().batch_size * _STEPS * read / found
    for file in files:
        rows += row_count(file)
        if rows >= enough:
            break
    return found * max(1.0, rows / max(1, read))


def row_count(path: Path) -> int:
    """Rows of a file that can be read: of Parquet as it says, of others about as many as its first MiB promises.

    Of a compressed one, and of other files of columns, too few: what is packed is taken for text.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError):
        head = open_content(path).read(_HEAD)
    return max(1, bytes(head).count(b"\n")) * max(len(head), path.stat().st_size) // max(1, len(head))
