"""What is notified of what a feed reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from streaming.join.labeled_impression import LabeledImpression


class Observer(Protocol):
    """Notified of impressions and items as the feed reads them, such as a catalog."""

    def observe(self, impressions: Iterable[LabeledImpression]) -> None: ...

    def seen(self, items: Iterable[str], time: int) -> None:
        """Items that an update at `time` (ms) describes."""
        ...

    def available(self, item: str, time: int, *, is_so: bool) -> None:
        """An update at `time` (ms) says whether the item can be recommended from then on."""
        ...

    def forget(self, user: str) -> int:
        """Drop what is known of a user; returns how much there was."""
        ...


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

    def forget(self, user: str) -> int:
        return sum(one.forget(user) for one in self._observers)

    def available(self, item: str, time: int, *, is_so: bool) -> None:
        for one in self._observers:
            one.available(item, time, is_so=is_so)
