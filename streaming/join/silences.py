"""When silence is learned: open impressions by the clock at which what nobody has decided becomes negative."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator

from xxhash import xxh3_64_intdigest

from streaming.join.click_delays import ClickDelays
from streaming.join.open_impression import OpenImpression

_Entry = tuple[int, int, OpenImpression]
Due = tuple[int, int]
"""Clock, and the number of the impression's event."""


class Silences:
    """Each open impression once, at an age that `delays` gives. The draw is a hash of its id, so it is repeatable.

    An impression that came so late that its window, of `wait` and `lateness`, closes before that age is not kept: its
    silence is learned when it closes.
    """

    def __init__(self, delays: ClickDelays, window: int) -> None:
        self._delays, self._window = delays, window
        self._heap: list[_Entry] = []
        self._version = 0
        self.next_due: float = math.inf
        """The clock at which the next one is due."""

    def add(self, shown: OpenImpression, clock: int, opened: Iterable[OpenImpression]) -> None:
        """An impression that is shown now, one of those that are `opened`."""
        self._delays.shown(clock, len(shown.items))
        if self._version != self._delays.version:  # as happens in the first window of a log
            self._version = self._delays.version
            self._draw_anew(opened, clock)
        elif (entry := self._entry(shown, clock))[0] < shown.time + self._window:
            heapq.heappush(self._heap, entry)
            self.next_due = self._heap[0][0]

    def clicked(self, delay: int) -> int:
        """An item was clicked `delay` ms after it was shown; returns the bin of that delay, for `close`."""
        bin_ = self._delays.bin(delay)
        self._delays.clicked(bin_)
        return bin_

    def close(self, shown: OpenImpression) -> None:
        """Its window is over."""
        shown.silent = True
        self._delays.closed(len(shown.items), (shown.clicks or {}).values())

    def due(self, clock: int) -> Iterator[tuple[int, OpenImpression]]:
        """Impressions that have become due before `clock`, in order, each with the moment at which it is known."""
        while self._heap and self._heap[0][0] < clock:
            due, _, shown = heapq.heappop(self._heap)
            self._note()
            if not shown.silent:
                yield due + 1, shown

    def prune(self, size: int) -> None:
        """Forget impressions that closed early, when there are more than `size` entries."""
        if len(self._heap) > size:
            self._heap = sorted(entry for entry in self._heap if not entry[2].silent)
            self._note()

    def state(self) -> tuple[bytes, int, list[Due]]:
        self._heap = sorted(entry for entry in self._heap if not entry[2].silent)
        self._note()
        return self._delays.state(), self._version, [(due, number) for due, number, _ in self._heap]

    def restore(self, state: tuple[bytes, int, list[Due]], shown: Iterable[OpenImpression]) -> None:
        """Restore what `state` returned, with the open impressions. Raises msgspec.DecodeError or KeyError."""
        by_number = {one.number: one for one in shown}
        delays, self._version, entries = state
        self._delays.restore(delays)
        self._heap = [(due, number, by_number[number]) for due, number in entries]
        self._note()

    def _entry(self, shown: OpenImpression, clock: int) -> _Entry:
        age = self._delays.age(xxh3_64_intdigest(shown.id.encode()) / 2**64)
        return max(shown.clock + age, clock), shown.number, shown

    def _draw_anew(self, opened: Iterable[OpenImpression], clock: int) -> None:
        entries = (self._entry(shown, clock) for shown in opened if not shown.silent)
        self._heap = sorted(entry for entry in entries if entry[0] < entry[2].time + self._window)
        self._note()

    def _note(self) -> None:
        self.next_due = self._heap[0][0] if self._heap else math.inf
