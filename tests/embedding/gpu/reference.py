"""What the table promises, as plain dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from embedding.gpu.id_table import GpuIdTable
from embedding.hashing import eviction_ties


@dataclass
class Entry:
    row: int
    seen: int
    frequency: int

    @property
    def priority(self) -> int:
        return self.seen * 256 + self.frequency


@dataclass
class Reference:
    """The definition of right. Rows are whatever the table chose: they are learned from its answers and held to it."""

    capacity: int
    entries: dict[int, Entry] = field(default_factory=dict)
    refused: int = 0

    def find_or_insert(self, ids: list[int], minute: int, rows: list[int], new: list[bool]) -> None:
        """Check an answer and learn its rows."""
        before = set(self.entries)
        inserted: dict[int, int] = {}
        for one, row in zip(ids, rows, strict=True):
            if one in before:
                assert row == self.entries[one].row
            else:
                assert inserted.setdefault(one, row) == row, f"id {one} got rows {inserted[one]} and {row}"
        got = {one: row for one, row in inserted.items() if row >= 0}
        taken = {entry.row for entry in self.entries.values()}
        assert len(set(got.values())) == len(got), "two ids share a row"
        assert not taken & set(got.values()), "a live id's row was given away"
        assert all(row < self.capacity for row in got.values())
        assert len(got) == min(len(inserted), self.capacity - len(before)), "refused an id while a row was free"
        assert sorted(one for one, is_new in zip(ids, new, strict=True) if is_new) == sorted(got)
        self.entries |= {one: Entry(row, minute, 0) for one, row in got.items()}
        for one in ids:
            if one not in self.entries:
                self.refused += 1
                continue
            entry = self.entries[one]
            entry.seen, entry.frequency = max(entry.seen, minute), min(255, entry.frequency + 1)

    def expire(self, before: int) -> dict[int, int]:
        return self._drop([one for one, entry in self.entries.items() if entry.seen < before])

    def evict(self, n: int) -> dict[int, int]:
        def coldness(one: int) -> tuple[int, int]:
            return self.entries[one].priority, int(eviction_ties(np.array([one], np.int64).view(np.uint64), draw=0)[0])

        return self._drop(sorted(self.entries, key=coldness)[:n])

    def remove(self, ids: list[int]) -> dict[int, int]:
        return self._drop([one for one in dict.fromkeys(ids) if one in self.entries])

    def _drop(self, ids: list[int]) -> dict[int, int]:
        return {one: self.entries.pop(one).row for one in ids}


class Checked:
    """A table and its reference, asked the same and compared after every call."""

    def __init__(self, capacity: int, device: str, block: int = 256) -> None:
        self.table = GpuIdTable(capacity, device=device, block=block)
        self.reference = Reference(capacity)
        self.device = device

    def insert(self, ids: list[int], minute: int = 0) -> list[int]:
        rows, new = self.table.find_or_insert(self.tensor(ids), minute)
        self.reference.find_or_insert(ids, minute, rows.tolist(), new.tolist())
        self.compare()
        return [int(row) for row in rows.tolist()]

    def expire(self, before: int) -> None:
        self._went(self.table.expire(before), self.reference.expire(before))

    def evict(self, n: int) -> None:
        self._went(self.table.evict(n), self.reference.evict(n))

    def remove(self, ids: list[int]) -> None:
        gone = self.table.remove(self.tensor(ids))
        assert gone[0].tolist() == sorted(gone[0].tolist())
        self._went(gone, self.reference.remove(ids))

    def _went(self, gone: tuple[torch.Tensor, torch.Tensor], expected: dict[int, int]) -> None:
        ids, rows = gone
        assert len(ids) == len(expected)
        assert dict(zip(ids.tolist(), rows.tolist(), strict=True)) == expected
        assert set(self.table.find(ids).tolist()) <= {-1}
        live = self.reference.entries
        assert self.table.find(self.tensor(list(live))).tolist() == [entry.row for entry in live.values()]
        self.compare()

    def compare(self) -> None:
        entries = self.reference.entries
        ids, rows, priorities = (tensor.tolist() for tensor in self.table.entries())
        assert len(ids) == len(entries) == len(self.table)
        found = {one: (row, priority) for one, row, priority in zip(ids, rows, priorities, strict=True)}
        assert found == {one: (entry.row, entry.priority) for one, entry in entries.items()}
        assert self.table.refused == self.reference.refused
        words = self.table._table[:, 0].view(2, -1)
        used = int((words[0] != -1).sum() + (words[1] != 0).sum())
        assert self.table.tombstones == used - len(entries)

    def tensor(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.int64, device=self.device)
