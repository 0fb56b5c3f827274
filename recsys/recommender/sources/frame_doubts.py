"""What a frame has that its standard mapping does not read, in sentences with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from recsys.config.sections.log import MappingSection

_OF_LISTS: Final = ("impression", "shown", "feedback")
"""Kinds of rows that may have features."""
_TOGETHER: Final = 0.5
"""Share of the rows that have to stand beside another one of their user and time."""


def frame_doubts(table: pa.Table, mapping: MappingSection) -> Iterator[str]:
    """Columns that are left out, and rows of one user and time that become lists of one item each."""
    read = set(map(str, mapping.columns.values()))
    unread = [name for name in table.column_names if name not in read and not name.startswith("__index_level_")]
    if unread and mapping.kind in _OF_LISTS:
        yield (
            f"Columns that are left out: {', '.join(unread)}. No field reads a feature of that name. To learn from "
            f"one, add a field to features.fields, with the source request.{unread[0]} or, of items, item.{unread[0]}."
        )
    if mapping.kind == "shown" and "id" not in read and _stand_together(table, mapping):
        yield (
            "Each row is a list of one item, although most stand beside others of the same user and time. If these "
            'were shown together, give them an `id` column, or a mapping with id = ["user", "time"].'
        )


def _stand_together(table: pa.Table, mapping: MappingSection) -> bool:
    keys = table.select([str(mapping.columns[name]) for name in ("user", "time")]).to_pylist()
    same = np.array([one == next_ for one, next_ in pairwise(keys)], np.bool_)
    beside = np.append(same, False) | np.append(False, same)
    return bool(len(keys)) and float(beside.mean()) >= _TOGETHER
