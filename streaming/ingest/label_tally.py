"""What appended events say of labels, before any is joined: how much was shown, and what was done."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import IMPRESSION, INTERACTION, KINDS, kinds


class LabelTally:
    """Counts of events by kind, of shown items, and of interactions by action."""

    def __init__(self) -> None:
        self.shown = 0
        self.actions: Counter[str] = Counter()
        self._kinds_K = np.zeros(len(KINDS), np.int64)

    def add(self, events: pa.RecordBatch) -> None:
        """Count appended events."""
        kinds_N = kinds(events)
        self._kinds_K += np.bincount(kinds_N, minlength=len(KINDS))[: len(KINDS)]
        self.shown += pc.sum(pc.list_value_length(events.column("items"))).as_py() or 0
        done = events.column("action").filter(pa.array(kinds_N == INTERACTION))
        self.actions.update({one["values"]: one["counts"] for one in pc.value_counts(done).to_pylist()})

    @property
    def in_words(self) -> str:
        """The events by kind, such as `3 impressions with 12 shown items, 1 interaction`; empty if there are none."""
        found = []
        for kind, count in enumerate(self._kinds_K.tolist()):
            if count:
                name = KINDS[kind] if kind in (IMPRESSION, INTERACTION) else f"{KINDS[kind]} update"
                more = f" with {self.shown:,} shown items" if kind == IMPRESSION else ""
                found.append(f"{count:,} {name}{'s' * (count != 1)}{more}")
        return ", ".join(found)
