"""The items that each user did something with last, in bounded memory."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from operator import itemgetter

import msgspec

from streaming.windows.history_layout import HistoryLayout
from streaming.windows.record_changes import ChangedNames, RecordChanges


class HistoryTableState(msgspec.Struct):
    """`records`: by user, least recently used first."""

    lengths: tuple[tuple[str, int], ...]
    records: dict[str, bytes]
    evicted: int


class HistoryTable:
    """Histories of up to `capacity` users; the one who did something longest ago is forgotten first.

    Of each action the latest items by event time are kept, one for each time that the user did it: an item may be there
    twice. What comes late is put in its place by time, or forgotten if it is older than all of a full history. The
    record is kept as bytes, so that it takes the same memory here, in a checkpoint and in Redis.
    """

    def __init__(self, layout: HistoryLayout, capacity: int) -> None:
        self.layout = layout
        self.evicted = 0
        self._capacity = capacity
        self._codes = {action: code for code, (action, _) in enumerate(layout.lengths)}
        self._clear()

    def _clear(self) -> None:
        self._records: OrderedDict[str, bytes] = OrderedDict()
        self._changes = ChangedNames(self._records, self._capacity)

    def __len__(self) -> int:
        return len(self._records)

    def record(self, user: str) -> bytes | None:
        """The user's record, None if the user did nothing."""
        return self._records.get(user)

    def add(self, user: str, action: str, time: int, item: str) -> None:
        """The user did this with the item, if histories of the action are kept."""
        code = self._codes.get(action)
        if code is None:
            return
        acts = self.layout.read(self._records.get(user))
        insort(acts[code], (time, item), key=itemgetter(0))
        del acts[code][: -self.layout.lengths[code][1]]
        self._records[user] = msgspec.msgpack.encode(acts)
        self._records.move_to_end(user)
        self._changes.change(user)
        if len(self._records) > self._capacity:
            oldest, _ = self._records.popitem(last=False)
            self.evicted += 1
            self._changes.remove(oldest)

    def forget(self, user: str) -> bool:
        """Drop the history of a user; whether there was one."""
        known = self._records.pop(user, None) is not None
        if known:
            self._changes.remove(user)
        return known

    def drain_changes(self) -> RecordChanges:
        """What changed since the last drain, or all."""
        names, removed, full = self._changes.drain()
        return RecordChanges(self.layout, {name: self._records[name] for name in names}, removed, full)

    def restore_changes(self, changes: RecordChanges) -> None:
        """Count these as changed again: they could not be published."""
        self._changes.restore(changes.records, changes.removed, full=changes.full)

    def change_all(self) -> None:
        """Mark all as changed, because it is unknown what was published."""
        self._changes.change_all()

    def state(self) -> HistoryTableState:
        return HistoryTableState(self.layout.lengths, dict(self._records), self.evicted)

    def restore(self, state: HistoryTableState) -> None:
        """Restore a state; of one with other actions or lengths, what both have. Raises ValueError if damaged."""
        written = HistoryLayout(state.lengths)
        self._clear()
        self.evicted = state.evicted
        for user, record in state.records.items():
            before = dict(zip((action for action, _ in written.lengths), written.read(record), strict=True))
            acts = [before.get(action, [])[-length:] for action, length in self.layout.lengths]
            if any(acts):
                self._records[user] = msgspec.msgpack.encode(acts)
        self.change_all()
