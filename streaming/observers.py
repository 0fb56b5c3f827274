"""Several observers of a feed as one."""

from __future__ import annotations

from collections.abc import Iterable

from streaming.feed import Observer
from streaming.join.labeled_impression import LabeledImpression


class Observers:
    """Tells each of `observers`, in their order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def observe(self, impressions: Iterable[LabeledImpression]) -> None:
        every = list(impressions)
        for one in self._observers:
            one.observe(every)

    def seen(self, items: Iterable[str], time: int) -> None:
        every = list(items)
        for one in self._observers:
            one.seen(every, time)

    def available(self, item: str, time: int, *, is_so: bool) -> None:
        for one in self._observers:
            one.available(item, time, is_so=is_so)
