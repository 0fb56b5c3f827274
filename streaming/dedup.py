"""Recognising events that came before, in bounded memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from streaming.log import EventLog

Hashes = npt.NDArray[np.uint64]


class RecentEvents:
    """Remembers the kind and id of at least the last `capacity` events, and of at most twice as many.

    Two generations of hash tables with 64 bits an event (16 to 32 bytes): the older one is forgotten when the younger
    is full. Two ids in the window have the same hash with a probability of `capacity` / 2^63 an event.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"the window is at least 1 event, not {capacity}")
        self.capacity = capacity
        self._slots = 1 << (2 * capacity - 1).bit_length()
        self._young = np.zeros(self._slots, np.uint64)
        self._old = np.zeros(self._slots, np.uint64)
        self._count = 0

    @staticmethod
    def of(log: EventLog, capacity: int) -> RecentEvents:
        """Those of the last `capacity` events in the log."""
        recent = RecentEvents(capacity)
        share = -(-capacity // log.partitions)
        for partition, (begin, end) in enumerate(zip(log.begin(), log.end(), strict=True)):
            offset = max(begin, end - share)
            while offset < end:
                chunk = log.read(partition, offset, end - offset)
                recent.add(chunk.events)
                offset = chunk.next_offset
        return recent

    def add(self, events: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Remember the events; True where one was not known, nor stood earlier in this batch."""
        new = np.zeros(events.num_rows, np.bool_)
        hashes, rows = np.unique(_hashes(events), return_index=True)
        order = np.argsort(rows)  # in the order in which they came, so that the younger ones are kept
        hashes, rows = hashes[order], rows[order]
        while len(hashes):
            if self._count == self.capacity:
                self._old, self._young = self._young, self._old
                self._young[:] = 0
                self._count = 0
            piece = min(len(hashes), self.capacity - self._count)
            fresh = ~self._in_old(hashes[:piece])
            fresh[fresh] = self._claim(hashes[:piece][fresh])
            self._count += int(np.count_nonzero(fresh))
            new[rows[:piece][fresh]] = True
            hashes, rows = hashes[piece:], rows[piece:]
        return new

    def _in_old(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        return self._probe(self._old, hashes, claim=False)

    def _claim(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        return ~self._probe(self._young, hashes, claim=True)

    def _probe(self, table: Hashes, hashes: Hashes, claim: bool) -> npt.NDArray[np.bool_]:
        """Whether each of the distinct `hashes` is in the table. With `claim` those that are not are put there."""
        found = np.zeros(len(hashes), np.bool_)
        left = np.arange(len(hashes))
        slots = (hashes & np.uint64(self._slots - 1)).astype(np.intp)
        while len(left):
            there = table[slots[left]]
            free, same = there == 0, there == hashes[left]
            found[left[same]] = True
            over = same | free
            if claim and free.any():
                at = left[free]
                table[slots[at]] = hashes[at]  # where two want one slot, the last gets it
                over[free] = table[slots[at]] == hashes[at]
            left = left[~over]
            slots[left] = (slots[left] + 1) & (self._slots - 1)
        return found


def _hashes(events: pa.RecordBatch) -> Hashes:
    """The kind is the seed: impressions and interactions may be numbered alike. 0 marks a free slot."""
    kinds, ids = events.column("kind").to_pylist(), events.column("id").to_pylist()
    hashes = [xxh3_64_intdigest(id_.encode(), kind) or 1 for id_, kind in zip(ids, kinds, strict=True)]
    return np.array(hashes, np.uint64)
