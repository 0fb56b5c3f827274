"""The key of a training row: which shown item it is of, and for which task. Shape suffixes: B training rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_POSITION, _NUMBER = 14, 44
"""Bits of the position, at most 10,000, and of the number of the impression's event; the task has the rest."""


class RowKey(NamedTuple):
    """What a key says."""

    task: int
    number: int
    """Of the impression's event in the log."""
    position: int


def row_keys(
    tasks_B: npt.NDArray[np.int64], numbers_B: npt.NDArray[np.int64], positions_B: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """The keys [B] of rows by their task, the number of their impression's event and their position."""
    return tasks_B << _POSITION + _NUMBER | numbers_B << _POSITION | positions_B


def impression_numbers(keys_B: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The number [B] of each key's impression in the log.

    >>> impression_numbers(np.array([(1 << 44 | 7) << 14 | 2]))
    array([7])
    """
    return keys_B >> _POSITION & (1 << _NUMBER) - 1


def shown_items(keys_B: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The part [B] of each key that says which shown item it is of, whatever the task; in the order of lists.

    >>> shown_items(np.array([7 << 14 | 2, (1 << 44 | 7) << 14 | 2])).tolist() == [7 << 14 | 2] * 2
    True
    """
    return keys_B & (1 << _POSITION + _NUMBER) - 1


def read_key(key: int) -> RowKey:
    """What `row_keys` packed into one key.

    >>> read_key((1 << 44 | 7) << 14 | 2)
    RowKey(task=1, number=7, position=2)
    """
    upper, position = divmod(key, 1 << _POSITION)
    return RowKey(*divmod(upper, 1 << _NUMBER), position)
