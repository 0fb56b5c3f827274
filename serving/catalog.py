"""Which items are popular and which are new, in event time: the first sources of `POST /v1/recommend`.

Popularity is the number of interactions, each halved every `half_life`. It is kept as a forward decay (Cormode et al.,
Forward Decay, ICDE 2009): an interaction at time t weighs 2^(t / half_life) for ever, so scores of different ages
compare without ever being rewritten. Only the logarithm is stored, which does not overflow.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events import KINDS

_IMPRESSION, _INTERACTION, _, _ITEM = range(len(KINDS))


def decayed(score: float, now: int, half_life: int) -> float:
    """Popularity at event time `now` (ms) from a stored score: the decayed number of interactions.

    >>> decayed(score=10.0, now=9_000, half_life=1_000)
    2.0
    """
    return float(2.0 ** min(score - now / half_life, 1000.0))


@dataclass(frozen=True, slots=True)
class CatalogChanges:
    """Scores that differ from what was last published."""

    popular: dict[str, float]
    recent: dict[str, float]


class _State(msgspec.Struct):
    popular: dict[str, float]
    recent: dict[str, float]


class Catalog:
    """Popularity and first sight of at most `most_items` items each; beyond that the least go. Times are in ms.

    >>> catalog = Catalog(half_life=1_000)
    >>> catalog.interact("a", time=5_000)
    >>> catalog.interact("a", time=6_000)
    >>> round(decayed(catalog.popular["a"], 6_000, 1_000), 3)
    1.5
    """

    def __init__(
        self, half_life: int, actions: AbstractSet[str] = frozenset({"click"}), most_items: int = 100_000
    ) -> None:
        if half_life <= 0:
            raise ValueError(f"half_life is {half_life} ms: it must be positive")
        self.half_life = half_life
        self.most_items = most_items
        self.popular: dict[str, float] = {}
        self.recent: dict[str, float] = {}
        self._actions = pa.array(sorted(actions), pa.string())
        self._changed_popular: set[str] = set()
        self._changed_recent: set[str] = set()

    def interact(self, item: str, time: int, weight: float = 1.0) -> None:
        """Count one interaction."""
        self.see(item, time)
        self._add(item, time / self.half_life + float(np.log2(weight)))

    def see(self, item: str, time: int) -> None:
        """Note that the item exists at this time."""
        first = self.recent.get(item)
        if first is None or time < first:
            self.recent[item] = float(time)
            self._changed_recent.add(item)

    def update(self, events: pa.RecordBatch) -> None:
        """Take in events of the log (`streaming.events.EVENT_SCHEMA`)."""
        kinds = events.column("kind")
        self._see_all(events.filter(pc.not_equal(kinds, _IMPRESSION)))
        shown = events.filter(pc.equal(kinds, _IMPRESSION))
        lists = shown.column("items")
        times = shown.column("time").take(pc.list_parent_indices(lists))
        self._see_all(pa.RecordBatch.from_arrays([times, pc.list_flatten(lists)], names=["time", "item"]))
        chosen = pc.and_(pc.equal(kinds, _INTERACTION), pc.is_in(events.column("action"), value_set=self._actions))
        self._interact_all(events.filter(chosen))
        self._trim()

    def _see_all(self, events: pa.RecordBatch) -> None:
        first = pa.table({"item": events.column("item"), "time": events.column("time")}).group_by("item")
        table = first.aggregate([("time", "min")])
        for item, time in zip(table.column("item").to_pylist(), table.column("time_min").to_pylist(), strict=True):
            if item is not None:
                self.see(item, time)

    def _interact_all(self, events: pa.RecordBatch) -> None:
        if events.num_rows == 0:
            return
        times = events.column("time").to_numpy()
        latest = int(times.max())
        weights = pa.array(2.0 ** ((times - latest) / self.half_life))
        table = (
            pa.table({"item": events.column("item"), "weight": weights}).group_by("item").aggregate([("weight", "sum")])
        )
        for item, weight in zip(table.column("item").to_pylist(), table.column("weight_sum").to_pylist(), strict=True):
            if weight > 0:  # so much older than the latest that nothing of it is left
                self._add(item, latest / self.half_life + float(np.log2(weight)))

    def _add(self, item: str, score: float) -> None:
        self.popular[item] = float(np.logaddexp2(self.popular.get(item, -np.inf), score))
        self._changed_popular.add(item)

    def _trim(self) -> None:
        """Drop the least once there is a tenth too many, so that sorting is rare."""
        for scores, changed in ((self.popular, self._changed_popular), (self.recent, self._changed_recent)):
            if len(scores) > self.most_items * 1.1:
                kept = sorted(scores, key=scores.__getitem__, reverse=True)[: self.most_items]
                for item in scores.keys() - kept:
                    del scores[item]
                changed &= scores.keys()

    def changes(self) -> CatalogChanges:
        return CatalogChanges(
            {item: self.popular[item] for item in self._changed_popular},
            {item: self.recent[item] for item in self._changed_recent},
        )

    def published(self, changes: CatalogChanges) -> None:
        """These changes are where they should be."""
        self._changed_popular -= {i for i, score in changes.popular.items() if self.popular.get(i) == score}
        self._changed_recent -= {i for i, time in changes.recent.items() if self.recent.get(i) == time}

    def state(self) -> bytes:
        return msgspec.msgpack.encode(_State(self.popular, self.recent))

    def restore(self, state: bytes) -> None:
        """Take over a state; everything counts as changed, because nobody knows what was published of it."""
        read = msgspec.msgpack.decode(state, type=_State)
        self.popular, self.recent = read.popular, read.recent
        self._changed_popular, self._changed_recent = set(self.popular), set(self.recent)
