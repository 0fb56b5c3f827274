"""What a log holds, counted without the joiner: lists, their items, and the clicks that belong to them.

Shape suffixes: L lists, C clicks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks._chaos_traffic import LAST
from benchmarks._event_hashes import Hashes, hashes, pairs
from streaming.events.columns import IMPRESSION, INTERACTION
from streaming.join.tables.event_columns import EventColumns
from streaming.log.event_log import EventLog, read_partitions

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShownEvents:
    """Every event counts once. The lists at the end, whose windows are open, do not count."""

    lists_L: Hashes
    """Of their ids, in ascending order."""
    clicks_C: Hashes
    """Of list and item, in ascending order; only those within the wait of their list count."""
    items: int
    """Shown ones, as often as they were shown."""
    repeated: int
    """Lists and clicks that the log holds once more."""
    events: int

    @staticmethod
    def of(log: EventLog, wait: int) -> ShownEvents:
        """`wait` in ms."""
        found = [_columns(chunk.events) for chunk in chain.from_iterable(read_partitions(log))]
        all_ = _Columns(*map(np.concatenate, zip(*found, strict=True)))
        lists_L, first_L = np.unique(all_.lists_L, return_index=True)
        clicks_C, first_C = np.unique(all_.clicks_C, return_index=True)
        of_C = all_.of_C[first_C]
        list_C = np.searchsorted(lists_L, of_C).clip(max=len(lists_L) - 1)
        latest_C = all_.shown_L[first_L][list_C] + wait
        counted_C = (lists_L[list_C] == of_C) & (all_.clicked_C[first_C] <= latest_C)
        return ShownEvents(
            lists_L=lists_L,
            clicks_C=clicks_C[counted_C],
            items=int(all_.sizes_L[first_L].sum()),
            repeated=len(all_.lists_L) - len(lists_L) + len(all_.clicks_C) - len(clicks_C),
            events=int(all_.events.sum()),
        )


class _Columns(NamedTuple):
    """In the order of the log; times in ms."""

    lists_L: Hashes
    sizes_L: Ints
    shown_L: Ints
    clicks_C: Hashes
    of_C: Hashes
    """The list of each click."""
    clicked_C: Ints
    events: Ints
    """[batches]"""


def _columns(events: pa.RecordBatch) -> _Columns:
    of_kind = events.column("kind").to_numpy()
    last = pc.starts_with(events.column("id"), LAST).to_numpy(zero_copy_only=False)
    shown = events.take(pa.array(np.flatnonzero((of_kind == IMPRESSION) & ~last)))
    clicks = events.take(pa.array(np.flatnonzero(of_kind == INTERACTION)))
    lists, acted = EventColumns.of(shown), EventColumns.of(clicks)
    of_C = hashes(acted.impression)
    return _Columns(
        lists_L=hashes(lists.id),
        sizes_L=np.diff(lists.item_offsets).astype(np.int64),
        shown_L=lists.times_N,
        clicks_C=pairs(of_C, hashes(acted.item)),
        of_C=of_C,
        clicked_C=acted.times_N,
        events=np.array([events.num_rows]),
    )
