"""The key of a training row: which shown item it is of, and for which task. Shape suffixes: B training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.join.labeled_impression import LabeledImpression

_POSITION, _NUMBER = 14, 44
"""Bits of the position, at most 10,000, and of the number of the impression's event; the task has the rest."""


class RowKey(NamedTuple):
    """What a key says."""

    task: int
    number: int
    """Of the impression's event in the log."""
    position: int


def row_keys(impressions: Sequence[LabeledImpression], rows: int) -> npt.NDArray[np.int64]:
    """The keys [B] of the `rows` labels of these impressions."""
    each = (
        i.task << _POSITION + _NUMBER | i.number << _POSITION | position
        for i in impressions
        for position in i.positions
    )
    return np.fromiter(each, np.int64, rows)


def impression_numbers(keys_B: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The number [B] of each key's impression in the log.

    >>> impression_numbers(np.array([(1 << 44 | 7) << 14 | 2]))
    array([7])
    """
    return keys_B >> _POSITION & (1 << _NUMBER) - 1


def read_key(key: int) -> RowKey:
    """What `row_keys` packed into one key.

    >>> read_key((1 << 44 | 7) << 14 | 2)
    RowKey(task=1, number=7, position=2)
    """
    upper, position = divmod(key, 1 << _POSITION)
    return RowKey(*divmod(upper, 1 << _NUMBER), position)
