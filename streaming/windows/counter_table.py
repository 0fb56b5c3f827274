"""The counters of all entities of one kind, in bounded memory.

Shape suffixes: S slots, C slots to read, K fields, N names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from streaming.windows import counter_kernels
from streaming.windows.counter_layout import CounterLayout, Numbers
from streaming.windows.record_changes import ChangedNames, RecordChanges

_FIRST_SLOTS = 64


class CounterTableState(msgspec.Struct):
    """`names`: least recently used first; times and counts are in that order."""

    actions: tuple[str, ...]
    pairs: tuple[tuple[str, int], ...]
    names: list[str]
    times: bytes
    counts: bytes
    evicted: int


class CounterTable:
    """Counters of up to `capacity` entities; the least recently used one is forgotten first."""

    def __init__(self, layout: CounterLayout, capacity: int) -> None:
        self.layout = layout
        self.codes = {action: code for code, action in enumerate(layout.actions)}
        self.evicted = 0
        self._capacity = capacity
        self._columns_J2 = layout.columns_J2()
        self._clear()

    def _clear(self) -> None:
        self._slots: OrderedDict[str, int] = OrderedDict()
        self._free: list[int] = []
        self._times_S = np.full((_FIRST_SLOTS, self.layout.times), counter_kernels.NEVER)
        self._counts_S = np.zeros((_FIRST_SLOTS, self.layout.counts), np.uint32)
        self._changes = ChangedNames(self._slots, self._capacity)

    def __len__(self) -> int:
        return len(self._slots)

    def read(self, names: Sequence[str], fields_K3: npt.NDArray[np.int64], time: int) -> Numbers:
        """The fields [C, K] of these entities as of `time`; NaN where one is missing."""
        out_CK = np.empty((len(names), len(fields_K3)))
        slots_C = np.array([self._slots.get(name, 0) for name in names], np.int64)  # nothing is counted in slot 0
        actions = len(self.layout.actions)
        counter_kernels.read(self._times_S, self._counts_S, self._columns_J2, actions, fields_K3, slots_C, time, out_CK)
        return out_CK

    def add(self, name: str, action: str, time: int) -> None:
        """Count one event, if its action is counted."""
        code = self.codes.get(action)
        if code is None:
            return
        slot = self._slot(name)
        counter_kernels.add(self._times_S, self._counts_S, self._columns_J2, len(self.layout.actions), slot, code, time)
        self._changes.change(name)
        if len(self._slots) > self._capacity:
            self._evict()

    def forget(self, chosen: Callable[[str], bool]) -> int:
        """Drop the counters of the entities with these names; returns how many there were."""
        names = [name for name in self._slots if chosen(name)]
        for name in names:
            self._drop(name)
        return len(names)

    def drain_changes(self) -> RecordChanges:
        """What changed since the last drain, or all."""
        names, removed, full = self._changes.drain()
        return RecordChanges(self.layout, {name: self._record(name) for name in names}, removed, full)

    def restore_changes(self, changes: RecordChanges) -> None:
        """Count these as changed again: they could not be published."""
        self._changes.restore(changes.records, changes.removed, full=changes.full)

    def change_all(self) -> None:
        """Mark all as changed, because it is unknown what was published."""
        self._changes.change_all()

    def state(self) -> CounterTableState:
        slots_N = np.fromiter(self._slots.values(), np.int64, len(self._slots))
        times, counts = self._times_S[slots_N].tobytes(), self._counts_S[slots_N].tobytes()
        return CounterTableState(self.layout.actions, self.layout.pairs, list(self._slots), times, counts, self.evicted)

    def restore(self, state: CounterTableState) -> None:
        """Restore a state; of one with another layout, the counters that both have. Raises ValueError if damaged."""
        written, count = CounterLayout(self.layout.entity, state.actions, state.pairs), len(state.names)
        self._clear()
        self.evicted = state.evicted
        for name in state.names:
            self._slot(name)
        times_N = np.frombuffer(state.times, np.int64).reshape(count, written.times)
        counts_N = np.frombuffer(state.counts, np.uint32).reshape(count, written.counts)
        here = slice(1, count + 1)
        for code, action in enumerate(self.layout.actions):
            if action in written.actions:
                was = written.actions.index(action)
                for now, then in ((0, 0), (len(self.layout.actions), len(written.actions))):
                    self._times_S[here, now + code] = times_N[:, then + was]
        for j, pair in enumerate(self.layout.pairs):
            if pair in written.pairs:
                was, ring = written.pairs.index(pair), counter_kernels.RING
                newest = times_N[:, 2 * len(written.actions) + was]
                self._times_S[here, 2 * len(self.layout.actions) + j] = newest
                self._counts_S[here, j * ring : (j + 1) * ring] = counts_N[:, was * ring : (was + 1) * ring]
        self.change_all()

    def _record(self, name: str) -> bytes:
        slot = self._slots[name]
        return self.layout.record(self._times_S[slot], self._counts_S[slot])

    def _slot(self, name: str) -> int:
        """The slot of an entity, which is used last from now on."""
        slot = self._slots.get(name)
        if slot is not None:
            self._slots.move_to_end(name)
            return slot
        slot = self._free.pop() if self._free else len(self._slots) + 1
        if slot == len(self._times_S):
            self._times_S = np.concatenate([self._times_S, np.full_like(self._times_S, counter_kernels.NEVER)])
            self._counts_S = np.concatenate([self._counts_S, np.zeros_like(self._counts_S)])
        self._slots[name] = slot
        return slot

    def _evict(self) -> None:
        self._drop(next(iter(self._slots)))
        self.evicted += 1

    def _drop(self, name: str) -> None:
        slot = self._slots.pop(name)
        self._times_S[slot], self._counts_S[slot] = counter_kernels.NEVER, 0
        self._free.append(slot)
        self._changes.remove(name)
