"""Which rows of a table changed since each consumer's last delta.

One bitmap takes the marks, whoever listens (a bit an id); when a consumer cuts a delta it is merged into the bitmap of
every consumer and cleared. Nothing is cleared before it is in the delta that will be repeated until acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedding.kernels import bitmap
from embedding.lazy_arrays import lazy_zeros
from embedding.store import Ids, Index

Bitmap = npt.NDArray[np.uint64]


@dataclass(slots=True)
class _Listener:
    """What one consumer has yet to be told."""

    changed: Bitmap
    removed: list[Ids] = field(default_factory=list)
    overdue: bool = False
    """Too many ids went to list them."""

    def tombstones(self) -> int:
        return sum(map(len, self.removed))


class ChangeLog:
    """Marks of one table of `capacity` rows, per consumer, and the ids that went.

    >>> log = ChangeLog(capacity=100)
    >>> log.listen("redis")
    >>> log.mark(np.array([3, -1, 70], np.int32))
    >>> log.take_changes("redis")[0].tolist()
    [3, 70]
    """

    def __init__(self, capacity: int) -> None:
        self._words = capacity // 64 + 1
        self._capacity = capacity
        self._touched: Bitmap = lazy_zeros(self._words, np.uint64)
        self._listeners: dict[str, _Listener] = {}

    def listen(self, consumer: str) -> None:
        """Keep changes for a consumer, from now on."""
        self._flush()
        self._listeners[consumer] = _Listener(lazy_zeros(self._words, np.uint64))

    def mark(self, rows: Index) -> None:
        """These rows changed; -1 is passed over."""
        if self._listeners:
            bitmap.mark(self._touched, rows)

    def mark_for(self, consumer: str, rows: Index, removed: Ids) -> None:
        """These rows changed and these ids went, for one consumer only."""
        bitmap.mark(self._listeners[consumer].changed, rows)
        self._listeners[consumer].removed.append(removed)

    def remove(self, ids: Ids, rows: Index) -> None:
        """These ids went; their rows hold nothing to tell."""
        if not len(ids) or not self._listeners:
            return
        bitmap.unmark(self._touched, rows)
        for listener in self._listeners.values():
            bitmap.unmark(listener.changed, rows)
            listener.removed.append(ids)
            if listener.tombstones() > self._capacity:
                listener.removed, listener.overdue = [], True

    def overdue(self, consumer: str) -> bool:
        """Whether more ids went than the table holds: a full resync is smaller than their list."""
        return consumer in self._listeners and self._listeners[consumer].overdue

    def take_changes(self, consumer: str) -> tuple[Index, Ids]:
        """Index that changed and ids that went (some may be back) since the last cut, which are forgotten here."""
        self._flush()
        listener = self._listeners[consumer]
        cut = self._listed(listener)
        self._listeners[consumer] = _Listener(listener.changed)
        listener.changed[:] = 0
        return cut

    def peek(self, consumer: str) -> tuple[Index, Ids]:
        """What `cut` would return; forgets nothing."""
        self._flush()
        return self._listed(self._listeners[consumer])

    @staticmethod
    def _listed(listener: _Listener) -> tuple[Index, Ids]:
        rows = np.empty(bitmap.count_bits(listener.changed), np.int32)
        bitmap.list_bits(listener.changed, rows)
        return rows, np.unique(np.concatenate([np.zeros(0, np.uint64), *listener.removed]))

    def _flush(self) -> None:
        for listener in self._listeners.values():
            bitmap.merge(listener.changed, self._touched)
        self._touched[:] = 0
