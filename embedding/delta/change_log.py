"""Which rows of a table changed since each consumer's last delta.

Marks go to one bitmap (a bit per row), whatever the number of consumers. When a consumer takes its changes, that bitmap
is flushed to the bitmaps of all consumers. A consumer's marks are cleared only when they are in a delta, which is
repeated until it is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedding.kernels import bitmap
from embedding.lazy_arrays import lazy_zeros
from embedding.store import Ids, Index

Bitmap = npt.NDArray[np.uint64]
Marks = list[npt.NDArray[np.bool_]]
"""Which of some rows are marked, in each bitmap."""


@dataclass(slots=True)
class _Listener:
    """The changes that one consumer has not taken yet."""

    changed: Bitmap
    removed: list[Ids] = field(default_factory=list)
    overdue: bool = False
    """Whether too many ids were removed to keep a list of them."""

    def tombstones(self) -> int:
        return sum(map(len, self.removed))


class ChangeLog:
    """Changed rows and removed ids of one table of `capacity` rows, by consumer; of at most `ids` ids if that is less.

    >>> log = ChangeLog(capacity=100)
    >>> log.listen("redis")
    >>> log.mark(np.array([3, -1, 70], np.int32))
    >>> log.take_changes("redis")[0].tolist()
    [3, 70]
    """

    def __init__(self, capacity: int, ids: int | None = None) -> None:
        self._size = capacity // 64 + 1
        self._most_ids = capacity if ids is None else ids
        self._unflushed: Bitmap = lazy_zeros(self._size, np.uint64)
        self._listeners: dict[str, _Listener] = {}

    def listen(self, consumer: str) -> None:
        """Start keeping changes for a consumer, with none."""
        self._flush()
        self._listeners[consumer] = _Listener(lazy_zeros(self._size, np.uint64))

    def mark(self, rows: Index) -> None:
        """Mark rows as changed; -1 is ignored."""
        if self._listeners:
            bitmap.mark(self._unflushed, rows)

    def lift(self, rows: Index) -> Marks:
        """Take the marks of rows away, to be put elsewhere."""
        lifted = []
        for bits in self._bitmaps():
            lifted.append(is_marked(bits, rows))
            bitmap.unmark(bits, rows)
        return lifted

    def put(self, rows: Index, lifted: Marks) -> None:
        """Mark rows as those were from which the marks were lifted."""
        for bits, marked in zip(self._bitmaps(), lifted, strict=True):
            bitmap.mark(bits, rows[marked])

    def _bitmaps(self) -> list[Bitmap]:
        return [self._unflushed, *(listener.changed for listener in self._listeners.values())]

    def mark_for(self, consumer: str, rows: Index, removed: Ids) -> None:
        """Mark rows as changed and ids as removed, for one consumer only."""
        bitmap.mark(self._listeners[consumer].changed, rows)
        self._listeners[consumer].removed.append(removed)

    def remove(self, ids: Ids, rows: Index) -> None:
        """Mark ids as removed, and their rows as unchanged."""
        if not len(ids) or not self._listeners:
            return
        bitmap.unmark(self._unflushed, rows)
        for listener in self._listeners.values():
            bitmap.unmark(listener.changed, rows)
            listener.removed.append(ids)
            if listener.tombstones() > self._most_ids:
                listener.removed, listener.overdue = [], True

    def overdue(self, consumer: str) -> bool:
        """Whether more ids were removed than the table holds, so that a full resync is smaller than a list of them."""
        return consumer in self._listeners and self._listeners[consumer].overdue

    def take_changes(self, consumer: str) -> tuple[Index, Ids]:
        """Rows that changed and ids that were removed (some may be back) since the last call; clears them."""
        self._flush()
        listener = self._listeners[consumer]
        changes = self._listed(listener)
        self._listeners[consumer] = _Listener(listener.changed)
        listener.changed[:] = 0
        return changes

    def take_marks(self, consumer: str) -> Bitmap:
        """Rows that changed since the last call, as bits; clears them."""
        self._flush()
        marks = self._listeners[consumer].changed
        self._listeners[consumer] = _Listener(lazy_zeros(self._size, np.uint64))
        return marks

    def changed(self, consumer: str) -> int:
        """How many rows changed since the consumer's last call."""
        self._flush()
        return int(bitmap.count_bits(self._listeners[consumer].changed))

    def pending(self, consumer: str) -> tuple[Index, Ids]:
        """What `take_changes` would return; clears nothing."""
        self._flush()
        return self._listed(self._listeners[consumer])

    @staticmethod
    def _listed(listener: _Listener) -> tuple[Index, Ids]:
        rows = np.empty(bitmap.count_bits(listener.changed), np.int32)
        bitmap.list_bits(listener.changed, rows)
        return rows, np.unique(np.concatenate([np.zeros(0, np.uint64), *listener.removed]))

    def _flush(self) -> None:
        for listener in self._listeners.values():
            bitmap.merge(listener.changed, self._unflushed)
        self._unflushed[:] = 0


def is_marked(marks: Bitmap, rows: Index) -> npt.NDArray[np.bool_]:
    """Which of these rows are marked."""
    marked: npt.NDArray[np.bool_] = (marks[rows >> 6] >> (rows & 63).astype(np.uint64) & np.uint64(1)).astype(bool)
    return marked
