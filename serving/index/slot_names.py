"""Names of items as small numbers, which are given again once they are free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from serving.index.vector_index import Bits, Slots


class SlotNames:
    """Each name has a slot from `take` until `hide`; the slot is given to another name after `free`.

    >>> names = SlotNames()
    >>> names.take(["a", "b"]).tolist(), names.hide(["a", "z"]).tolist(), names.take(["c"]).tolist()
    ([0, 1], [0], [2])
    >>> names.free(); names.take(["d"]).tolist(), names.of([1, 0])
    ([0], ['b', 'd'])
    """

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._names: list[str] = []
        self._free: list[int] = []
        self.hidden: list[int] = []
        """Slots of names that are gone, which an index may still hold."""
        self.visible: Bits = np.zeros(128, np.uint8)
        """The bits of slots that have a name."""

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def take(self, names: Iterable[str]) -> Slots:
        """The slots of names, new ones for those that have none."""
        slots = np.array([self._take(name) for name in names], np.int64)
        self._grow()
        _set(self.visible, slots)
        return slots

    def hide(self, names: Iterable[str]) -> Slots:
        """Take the slots of these names from them, and return them; unknown names are ignored."""
        gone = [slot for name in names if (slot := self._slots.pop(name, None)) is not None]
        self.hidden += gone
        slots = np.array(gone, np.int64)
        _clear(self.visible, slots)
        return slots

    def find(self, names: Iterable[str]) -> Slots:
        """The slot of each name, -1 where it has none."""
        return np.array([self._slots.get(name, -1) for name in names], np.int64)

    def shows(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Which of the slots have a name."""
        return np.asarray((self.visible[slots >> 3] & _bit(slots)) != 0, np.bool_)

    def free(self) -> None:
        """Give the hidden slots to other names from now on."""
        self._free += self.hidden
        self.hidden = []

    def of(self, slots: Iterable[int]) -> list[str]:
        return [self._names[slot] for slot in slots]

    def without(self, names: Iterable[str]) -> Bits:
        """The visible slots, except for those of `names`."""
        slots = [slot for name in names if (slot := self._slots.get(name)) is not None]
        if not slots:
            return self.visible
        allowed = self.visible.copy()
        _clear(allowed, np.array(slots, np.int64))
        return allowed

    def _take(self, name: str) -> int:
        slot = self._slots.get(name)
        if slot is None:
            if self._free:
                slot = self._free.pop()
                self._names[slot] = name
            else:
                slot = len(self._names)
                self._names.append(name)
            self._slots[name] = slot
        return slot

    def _grow(self) -> None:
        needed = len(self._names) // 8 + 1
        if needed > len(self.visible):
            self.visible = np.concatenate([self.visible, np.zeros(needed, np.uint8)])


def _set(bits: Bits, slots: Slots) -> None:
    np.bitwise_or.at(bits, slots >> 3, _bit(slots))


def _clear(bits: Bits, slots: Slots) -> None:
    np.bitwise_and.at(bits, slots >> 3, ~_bit(slots))


def _bit(slots: Slots) -> Bits:
    return np.left_shift(np.uint8(1), (slots & 7).astype(np.uint8))
