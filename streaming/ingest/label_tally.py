"""What appended events say of labels, before any is joined: how much was shown, and what was done."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import INTERACTION, kinds


class LabelTally:
    """Counts of shown items, and of interactions by action."""

    def __init__(self) -> None:
        self.shown = 0
        self.actions: Counter[str] = Counter()

    def add(self, events: pa.RecordBatch) -> None:
        """Count appended events."""
        self.shown += pc.sum(pc.list_value_length(events.column("items"))).as_py() or 0
        done = events.column("action").filter(pa.array(kinds(events) == INTERACTION))
        self.actions.update({one["values"]: one["counts"] for one in pc.value_counts(done).to_pylist()})
