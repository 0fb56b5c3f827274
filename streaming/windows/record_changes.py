"""Which records changed since they were last published."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


class RecordLayout(Protocol):
    """How the records of one kind are written."""

    @property
    def key(self) -> str:
        """Equal for layouts whose records are."""
        ...

    @property
    def kind(self) -> str:
        """What the records are of: `user`, `item` or `pair` for counters, `history`."""
        ...


@dataclass(frozen=True, slots=True)
class RecordChanges:
    """Records of one layout that changed since the last drain, by name."""

    layout: RecordLayout
    records: dict[str, bytes]
    removed: list[str]
    """Those that were evicted."""
    full: bool
    """Whether `records` has all that there are."""


class ChangedNames:
    """Names of changed records, of those in `known`, and of evicted ones, at most `capacity`."""

    def __init__(self, known: Collection[str], capacity: int) -> None:
        self._known, self._capacity = known, capacity
        self._changed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._full = False

    def change(self, name: str) -> None:
        self._changed[name] = None
        self._removed.pop(name, None)

    def remove(self, name: str) -> None:
        """The record is not known any more."""
        self._changed.pop(name, None)
        if not self._full:
            self._removed[name] = None
        if len(self._removed) > self._capacity:  # nobody drains; do not keep more names than records
            self.change_all()

    def change_all(self) -> None:
        """Mark all as changed, because it is unknown what was published."""
        self._changed, self._removed, self._full = dict.fromkeys(self._known), {}, True

    def drain(self) -> tuple[list[str], list[str], bool]:
        """Changed and removed names since the last drain, and whether all there are have changed."""
        drained = list(self._changed), list(self._removed), self._full
        self._changed, self._removed, self._full = {}, {}, False
        return drained

    def restore(self, records: Mapping[str, bytes], removed: Collection[str], *, full: bool) -> None:
        """Count these as changed again: they could not be published."""
        if full:
            self.change_all()
            return
        for name in (*records, *removed):
            (self._changed if name in self._known else self._removed)[name] = None
