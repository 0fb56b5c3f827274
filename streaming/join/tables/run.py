"""Consecutive events on their way into the tables.

Shape suffixes: N events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import IMPRESSION, INTERACTION, kinds, times
from streaming.join.columns_to_rows import InteractionRow, impressions, interactions
from streaming.join.open_impression import OpenImpression


class Run(NamedTuple):
    """Events that are joined in one call of the kernel."""

    kinds_N: npt.NDArray[np.uint8]
    times_N: npt.NDArray[np.int64]
    shown: list[OpenImpression]
    acted: list[InteractionRow]

    @staticmethod
    def of(events: pa.RecordBatch) -> Run:
        return Run(kinds(events), times(events), list(impressions(events)), list(interactions(events)))

    @property
    def impressions(self) -> npt.NDArray[np.int64]:
        """The numbers [S] of the events that are."""
        return np.flatnonzero(self.kinds_N == IMPRESSION)

    @property
    def interactions(self) -> npt.NDArray[np.int64]:
        """The numbers [A] of the events that are."""
        return np.flatnonzero(self.kinds_N == INTERACTION)

    def by_id(self, opened: Mapping[str, OpenImpression]) -> Sequence[Run]:
        """Runs in which each interaction can meet one impression at most, when these are `opened` before.

        An impression whose id was seen before, which is rare, is a run of its own.
        """
        ids = [one.id for one in self.shown]
        if len(set(ids)) == len(ids) and opened.keys().isdisjoint(ids):
            return [self]
        cuts, seen = {0, len(self.kinds_N)}, set[str]()
        for event, id_ in zip(self.impressions.tolist(), ids, strict=True):
            if id_ in opened or id_ in seen:
                cuts |= {event, event + 1}
            seen.add(id_)
        return self._cut(sorted(cuts))

    def _cut(self, cuts: Sequence[int]) -> list[Run]:
        shown = np.searchsorted(self.impressions, cuts).tolist()
        acted = np.searchsorted(self.interactions, cuts).tolist()
        return [
            Run(
                self.kinds_N[cuts[n] : cuts[n + 1]],
                self.times_N[cuts[n] : cuts[n + 1]],
                self.shown[shown[n] : shown[n + 1]],
                self.acted[acted[n] : acted[n + 1]],
            )
            for n in range(len(cuts) - 1)
        ]
