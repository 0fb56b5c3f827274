"""Places in a partition of a topic whose records hold several events each.

A log's offset is `record offset * 2**20 + number of the event in the record`, so it names an event. Offsets rise and
have gaps: a record holds fewer events than there are numbers, and Kafka keeps offsets for marks of transactions.

Shape suffixes: N events.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

MOST_EVENTS = 1 << 20
"""In one record."""


def offset_of(record: int, event: int = 0) -> int:
    """The log's offset of an event.

    >>> offset_of(3, 5), split_offset(offset_of(3, 5))
    (3145733, (3, 5))
    """
    return record * MOST_EVENTS + event


def split_offset(offset: int) -> tuple[int, int]:
    """The record's offset in Kafka, and the number of the event in it."""
    return divmod(offset, MOST_EVENTS)


def next_offsets(record: int, events: int, first: int = 0) -> npt.NDArray[np.int64]:
    """The offset after each event of a record that holds so many, from number `first` on [N].

    After the last one it is that of the next record, so that each place has one offset.
    """
    next_N = offset_of(record) + np.arange(first + 1, events + 1)
    next_N[-1:] = offset_of(record + 1)
    return next_N


def next_offsets_of_single(records: Iterable[int]) -> npt.NDArray[np.int64]:
    """The offset after the event of each record with one event [N]."""
    return (np.fromiter(records, np.int64) + 1) * MOST_EVENTS


def described(offset: int) -> str:
    """For people.

    >>> described(offset_of(3, 5))
    '3145733 (record 3, event 5)'
    """
    return "{} (record {}, event {})".format(offset, *split_offset(offset))
