"""When silence is learned: open impressions by the clock at which what nobody has decided becomes negative."""

from __future__ import annotations

from collections.abc import Iterable

from xxhash import xxh3_64_intdigest

from streaming.join.open_impression import OpenImpression
from streaming.join.silence.click_delays import ClickDelays
from streaming.join.silence.due_queue import DueQueue, Entry

Due = tuple[int, int]
"""Clock, and the number of the impression's event."""


class Silences:
    """Each open impression once, at an age that `delays` gives. The draw is a hash of its id, so it is repeatable.

    An impression that came so late that its window, of `wait` and `lateness`, closes before that age is not kept: its
    silence is learned when it closes. One that closes early may stay in `queue`; it is silent then.
    """

    def __init__(self, delays: ClickDelays, window: int) -> None:
        self._delays, self._window = delays, window
        self.queue = DueQueue(max(1, window // 1024))
        self._version = 0

    def add(self, shown: OpenImpression, clock: int, opened: Iterable[OpenImpression]) -> None:
        """An impression that is shown now, one of those that are `opened`."""
        self._delays.shown(clock, len(shown.items))
        if self._version != self._delays.version:  # as happens in the first window of a log
            self._version = self._delays.version
            self._draw_anew(opened, clock)
            return
        entry = self._entry(shown, clock)
        if entry[0] < shown.time + self._window:
            self.queue.push(entry)

    def clicked(self, delay: int) -> int:
        """An item was clicked `delay` ms after it was shown; returns the bin of that delay, for `close`."""
        bin_ = self._delays.bin(delay)
        self._delays.clicked(bin_)
        return bin_

    def close(self, shown: OpenImpression) -> None:
        """Its window is over."""
        self._delays.closed(len(shown.items), shown.clicks.values() if shown.clicks else ())

    def prune(self, size: int) -> None:
        """Forget impressions that closed early, when there are more than `size` entries."""
        if len(self.queue) > size:
            self.queue.load([entry for entry in self.queue if not entry[2].silent])

    def state(self) -> tuple[bytes, int, list[Due]]:
        due = [(due, number) for due, number, shown in self.queue if not shown.silent]
        return self._delays.state(), self._version, due

    def restore(self, state: tuple[bytes, int, list[Due]], shown: Iterable[OpenImpression]) -> None:
        """Restore what `state` returned, with the open impressions. Raises msgspec.DecodeError or KeyError."""
        by_number = {one.number: one for one in shown}
        delays, self._version, entries = state
        self._delays.restore(delays)
        self.queue.load([(due, number, by_number[number]) for due, number in entries])

    def _entry(self, shown: OpenImpression, clock: int) -> Entry:
        due = shown.clock + self._delays.age(xxh3_64_intdigest(shown.id.encode()) / 2**64)
        return due if due > clock else clock, shown.number, shown

    def _draw_anew(self, opened: Iterable[OpenImpression], clock: int) -> None:
        entries = (self._entry(shown, clock) for shown in opened if not shown.silent)
        self.queue.load([entry for entry in entries if entry[0] < entry[2].time + self._window])
