"""Which user saw which items, by impression, and what was done with them: interactions name only the impression."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from streaming.join.columns_to_rows import InteractionRow
from streaming.join.open_impression import OpenImpression


class _ShownList(msgspec.Struct, gc=False, array_like=True):
    time: int
    user: str
    items: tuple[str, ...]
    acted: list[tuple[str, str]] | None = None
    """Items and actions, in the order in which they came."""


class ShownListsState(msgspec.Struct):
    """`known`: oldest first."""

    clock: int
    known: list[tuple[str, _ShownList]]


class ShownLists:
    """The impressions of the last `wait` ms of event time, at most `capacity` of them; the first to come goes first."""

    def __init__(self, wait: int, capacity: int) -> None:
        self._wait, self._capacity = wait, capacity
        self._known: OrderedDict[str, _ShownList] = OrderedDict()
        self._clock = 0

    def add(self, shown: OpenImpression) -> bool:
        """Remember a list; False if its id is known."""
        if shown.id in self._known:
            return False
        self._known[shown.id] = _ShownList(shown.time, shown.user, shown.items)
        self._advance(shown.time)
        return True

    def met(self, acted: InteractionRow) -> str | None:
        """The user whose interaction this is; None if it is of no item of a list that is known, or came before."""
        self._advance(acted.time)
        shown = self._known.get(acted.impression)
        if shown is None or acted.item not in shown.items or acted.time > shown.time + self._wait:
            return None
        shown.acted = shown.acted or []
        if (what := (acted.item, acted.action)) in shown.acted:
            return None
        shown.acted.append(what)
        return shown.user

    def forget(self, user: str) -> int:
        """Drop the lists of a user; returns how many there were."""
        own = [id_ for id_, shown in self._known.items() if shown.user == user]
        for id_ in own:
            del self._known[id_]
        return len(own)

    def state(self) -> ShownListsState:
        return ShownListsState(self._clock, list(self._known.items()))

    def restore(self, state: ShownListsState) -> None:
        self._clock, self._known = state.clock, OrderedDict(state.known)

    def _advance(self, time: int) -> None:
        self._clock = max(self._clock, time)
        known = self._known
        while known and (len(known) > self._capacity or next(iter(known.values())).time < self._clock - self._wait):
            known.popitem(last=False)
