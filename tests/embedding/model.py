"""A store as plain dicts, in the plainest words: what every store must be equal to.

Suffixes: D dimension, F fallback rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from embedding.hashing import fallback_slots, initial_rows, mix, salt_of, uniform
from embedding.store import Floats, Optimizer, Table

MINUTE = 60_000
F32 = np.float32
SHARED_ROWS = 4096
COUNTERS = ("admitted", "unadmitted", "refused", "expired", "evicted", "erased", "stale", "nonfinite", "ahead")


@dataclass(slots=True)
class Row:
    """A row's values and its optimizer state: one number, or one a column."""

    weight: Floats
    state: Floats
    seen: int = 0
    freq: int = 0

    def step(self, rule: Optimizer, g: Floats) -> None:
        if rule.kind == "rowwise_adagrad":
            self.state = self.state + np.mean(g * g, dtype=F32)
            self.weight = self.weight - F32(rule.lr) / (np.sqrt(self.state) + F32(rule.eps)) * g
        else:
            self.state = self.state + g * g
            self.weight = self.weight - (F32(rule.lr) * g / (np.sqrt(self.state) + F32(rule.eps))).astype(F32)


def new_rows(ids: list[int], table: Table, name: str) -> list[Row]:
    width = 1 if table.optimizer.kind == "rowwise_adagrad" else table.dim
    values_ND = initial_rows(np.array(ids, np.uint64), table.dim, salt_of(0, name), table.init_scale)
    return [Row(values_D, np.zeros(width, F32)) for values_D in values_ND]


class Shared:
    """The rows that ids without one read."""

    def __init__(self, table: Table) -> None:
        self.first = new_rows(list(range(SHARED_ROWS)), table, f"fallback.{table.dim}")
        self.trained: dict[int, Row] = {}
        self._weights_FD = np.stack([row.weight for row in self.first])
        self._state_FW = np.stack([row.state for row in self.first])

    def __getitem__(self, slot: int) -> Row:
        return self.trained.get(slot, self.first[slot])

    def train(self, slot: int, rule: Optimizer, g: Floats) -> None:
        self.trained.setdefault(slot, self.first[slot]).step(rule, g)

    def values(self) -> tuple[Floats, Floats]:
        """All weights [F, D] and states [F, W]."""
        for slot, row in self.trained.items():
            self._weights_FD[slot], self._state_FW[slot] = row.weight, row.state
        return self._weights_FD, self._state_FW


class TableModel:
    """One table."""

    def __init__(self, table: Table, shared: Shared | None) -> None:
        self.table, self.shared = table, shared
        self.rows: dict[int, Row] = {}
        self.sightings: Counter[int] = Counter()
        """Of ids that are not yet admitted."""
        self.lookups = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def drop(self, ids: Iterable[int], why: str) -> int:
        gone = list(ids)
        for key in gone:
            del self.rows[key]
        self.counters[why] += len(gone)
        return len(gone)

    def expire(self, now: int) -> int:
        if self.table.ttl is None:
            return 0
        cutoff = (now - self.table.ttl) // MINUTE
        return self.drop([key for key, row in self.rows.items() if row.seen < cutoff], "expired")

    def forget(self, ids: list[int]) -> int:
        for key in ids:
            self.sightings.pop(key, None)
        return self.drop(set(ids) & set(self.rows), "erased")

    def coldest_first(self) -> list[int]:
        """By last seen, frequency, and a hash that is another one for every `capacity` ids evicted."""
        draw = np.uint64(self.counters["evicted"] // self.table.capacity)
        ties = dict(zip(self.rows, mix(mix(np.array(list(self.rows), np.uint64)) + draw).tolist(), strict=True))
        return sorted(self.rows, key=lambda key: (self.rows[key].seen, self.rows[key].freq, ties[key]))

    def admits(self, key: int, count: int) -> bool:
        match self.table.admission.kind:
            case "never":
                return False
            case "always":
                return True
            case "count":
                self.sightings[key] += count
                return self.sightings[key] >= self.table.admission.threshold
            case "probabilistic":
                draw = uniform(np.array([key], np.uint64), salt_of(0, self.table.name), self.lookups)[0]
                return bool(draw < 1 - 0.05 ** (count / self.table.admission.threshold))

    def look(self, ids: list[int], now: int) -> None:
        """Count, admit, touch."""
        counts, minute = Counter(ids), now // MINUTE
        self.lookups += 1
        old = {key for key in counts if key in self.rows}
        for key in old:
            row = self.rows[key]
            row.seen, row.freq = max(row.seen, minute), min(255, row.freq + counts[key])
        passed = {key: self.admits(key, counts[key]) for key in counts if key not in old}
        new = [key for key, admitted in passed.items() if admitted]
        self.counters["unadmitted"] += sum(counts[key] for key, admitted in passed.items() if not admitted)
        capacity = self.table.capacity
        if len(self.rows) + len(new) > capacity:
            self.expire(now)
        short = len(self.rows) + len(new) - capacity
        if short > 0:
            loose = [key for key in self.coldest_first() if key not in old]
            self.drop(loose[: max(short, capacity // 128)], "evicted")
        room = capacity - len(self.rows)
        self.counters["refused"] += sum(counts[key] for key in new[room:])
        self.counters["admitted"] += len(new[:room])
        for key, row in zip(new[:room], new_rows(new[:room], self.table, self.table.name), strict=True):
            row.seen, row.freq = minute, min(255, counts[key])
            self.rows[key] = row
            self.sightings.pop(key, None)

    def slots(self, ids: list[int]) -> list[int]:
        slots_N = fallback_slots(np.array(ids, np.uint64), salt_of(0, self.table.name), SHARED_ROWS)
        return [int(slot) for slot in slots_N]

    def read(self, ids: list[int]) -> Floats:
        """What a look-up gives [N, D]."""
        nothing = np.zeros(self.table.dim, F32)
        values = [self.rows[key].weight if key in self.rows else nothing for key in ids]
        if self.shared is not None:
            for i, slot in enumerate(self.slots(ids)):
                values[i] = values[i] if ids[i] in self.rows else self.shared[slot].weight
        return np.array(values, F32).reshape(len(ids), self.table.dim)

    def train(self, ids: list[int], had: list[bool], grads: Floats) -> None:
        """One step for ids that had a row when they were read and have one now, or for the rows they shared."""
        sums: dict[int, Floats] = {}
        shared: dict[int, Floats] = {}
        for key, slot, had_one, g in zip(ids, self.slots(ids), had, grads, strict=True):
            if not had_one:
                shared[slot] = shared[slot] + g if slot in shared else g
            elif key in self.rows:
                sums[key] = sums[key] + g if key in sums else g
            else:
                self.counters["stale"] += 1
        for key, g in sums.items():
            self.rows[key].step(self.table.optimizer, g)
        if self.shared is not None:
            for slot, g in shared.items():
                self.shared.train(slot, self.table.optimizer, g)

    def resize(self, table: Table) -> None:
        """Another capacity: the coldest go."""
        self.table = table
        self.drop(self.coldest_first()[: max(0, len(self.rows) - table.capacity)], "evicted")


class Model:
    """All tables of a store with seed 0, under one optimizer a dimension."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self.shared: dict[int, Shared] = {}
        self.tables = {}
        for table in tables:
            multiplexed = table.fallback == "multiplexed"
            if multiplexed and table.dim not in self.shared:
                self.shared[table.dim] = Shared(table)
            self.tables[table.name] = TableModel(table, self.shared[table.dim] if multiplexed else None)

    def __getitem__(self, table: str) -> TableModel:
        return self.tables[table]

    def expire(self, now: int) -> int:
        return sum(table.expire(now) for table in self.tables.values())
