"""Texts of events as 64-bit hashes, so that the ids of millions can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from streaming.join.tables.event_columns import Text, text_of
from streaming.text_hash import xxh3_texts

Hashes = npt.NDArray[np.uint64]


def hashes(text: Text | Sequence[str]) -> Hashes:
    """One for each text; of null that of an empty one."""
    offsets, data = text if isinstance(text, Text) else text_of(text)
    return xxh3_texts(data, offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64))


def pairs(first_N: Hashes, second_N: Hashes) -> Hashes:
    """One for each pair.

    >>> a, b = hashes(["a"]), hashes(["b"])
    >>> pairs(a, b) == pairs(b, a)
    array([False])
    """
    return mix(mix(first_N) + second_N)
