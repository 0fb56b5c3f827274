"""A consumer's copy of an embedding store, made of its deltas alone. Suffix: N ids of a call."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embedding.delta.consumers import Follower
from embedding.hashing import fallback_slots
from embedding.store import Delta, EmbeddingStore, Fallback, Ids


@dataclass
class Copy:
    """A consumer's copy of a store, made of its deltas alone."""

    follower: Follower = field(default_factory=Follower)
    tables: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    fallback: dict[str, Fallback] = field(default_factory=dict)

    def apply(self, delta: Delta) -> None:
        assert self.follower.accepts(delta)
        if delta.full:
            self.tables, self.fallback = {name: {} for name in delta.tables}, delta.fallback
        assert delta.fallback == self.fallback
        for name, table in delta.tables.items():
            self.tables[name].update(zip(table.ids_U.tolist(), table.values_UD.tolist(), strict=True))
            for key in table.removed.tolist():
                self.tables[name].pop(key, None)  # may have come and gone between two deltas

    def read(self, table: str, ids_N: Ids, dim: int) -> list[list[float]]:
        """What the store's `peek` should read."""
        shared = [[0.0] * dim] * len(ids_N)
        if table in self.fallback:
            rule = self.fallback[table]
            slots = fallback_slots(ids_N, np.uint64(rule.salt), rule.slots)
            shared = [self.tables[rule.rows][slot] for slot in slots.tolist()]
        return [self.tables[table].get(key, lost) for key, lost in zip(ids_N.tolist(), shared, strict=True)]


def follow(store: EmbeddingStore, consumer: str, copy: Copy) -> Delta:
    """Bring a copy up to date."""
    delta = store.delta(consumer)
    copy.apply(delta)
    store.acknowledge(consumer, delta.sequence)
    return delta
