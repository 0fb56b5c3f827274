"""What the stream computes of one kind of record: counters of users, items or pairs, or histories of users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from streaming.join.columns_to_rows import InteractionRow
from streaming.join.open_impression import OpenImpression
from streaming.windows.counter_layout import CounterLayout, as_values
from streaming.windows.counter_table import CounterTable
from streaming.windows.history_layout import HistoryLayout, HistoryReader
from streaming.windows.history_table import HistoryTable
from streaming.windows.streamed_source import ENTITIES, IMPRESSION, RECORDS, Entity, RecordKind, StreamedSource


def pair(user: str, item: str) -> str:
    """The name of a user and an item together.

    >>> pair("u1", "i1"), pair("u", "1i1")
    ('2:u1i1', '1:u1i1')
    """
    return f"{len(user)}:{user}{item}"


def record_names(kind: str, user: str, items: Sequence[str]) -> Sequence[str]:
    """The names of the records of this kind that a user and items have.

    >>> record_names("user", "u1", ["i1", "i2"]), record_names("item", "u1", ["i1", "i2"])
    (('u1',), ['i1', 'i2'])
    """
    match kind:
        case "item":
            return items
        case "pair":
            return [pair(user, item) for item in items]
    return (user,)


def of_user(kind: str, user: str) -> Callable[[str], bool] | None:
    """Which records of this kind name the user; None for a kind that names no user.

    >>> own = of_user("pair", "u1")
    >>> own is not None and own(pair("u1", "i1")) and not own(pair("u", "1i1"))
    True
    """
    match kind:
        case "item":
            return None
        case "pair":
            return lambda name: name.startswith(pair(user, ""))
    return user.__eq__


def of_request(kind: str) -> bool:
    """Whether a request has one value, rather than each of its items."""
    return kind in ("user", "history")


class Part(ABC):
    """One table, and the sources that read it."""

    kind: RecordKind
    table: CounterTable | HistoryTable

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """How many records there are and how many were evicted, by name."""

    @abstractmethod
    def values(self, shown: OpenImpression) -> dict[str, list[Any]]:
        """By source, one value for each record that the impression has, as of its time."""

    @abstractmethod
    def show(self, shown: OpenImpression) -> None:
        """Count a list that was shown."""

    @abstractmethod
    def act(self, user: str, acted: InteractionRow) -> None:
        """Count what the user did."""

    @abstractmethod
    def forget(self, user: str) -> int:
        """Drop the records that name the user; returns how many there were."""


class CounterPart(Part):
    """The counters of one kind of entity."""

    table: CounterTable

    def __init__(self, kind: Entity, sources: Sequence[StreamedSource], capacity: int) -> None:
        self.kind = kind
        layout = CounterLayout.of(kind, sources)
        self.table = CounterTable(layout, capacity)
        self._sources = [source.name for source in sources]
        self._fields_K3 = layout.fields_K3(sources)

    @property
    def sizes(self) -> dict[str, int]:
        return {f"counted_{self.kind}s": len(self.table), f"evicted_counters_of_{self.kind}s": self.table.evicted}

    def values(self, shown: OpenImpression) -> dict[str, list[Any]]:
        names = record_names(self.kind, shown.user, shown.items)
        return as_values(self._sources, self.table.read(names, self._fields_K3, shown.time))

    def show(self, shown: OpenImpression) -> None:
        if IMPRESSION in self.table.codes:
            for name in record_names(self.kind, shown.user, shown.items):
                self.table.add(name, IMPRESSION, shown.time)

    def act(self, user: str, acted: InteractionRow) -> None:
        for name in record_names(self.kind, user, (acted.item,)):
            self.table.add(name, acted.action, acted.time)

    def forget(self, user: str) -> int:
        own = of_user(self.kind, user)
        return 0 if own is None else self.table.forget(own)


class HistoryPart(Part):
    """The histories of users."""

    table: HistoryTable

    def __init__(self, sources: Sequence[StreamedSource], capacity: int) -> None:
        self.kind = "history"
        layout = HistoryLayout.of(sources)
        self.table = HistoryTable(layout, capacity)
        self._reader = HistoryReader(layout, sources)

    @property
    def sizes(self) -> dict[str, int]:
        return {"histories": len(self.table), "evicted_histories": self.table.evicted}

    def values(self, shown: OpenImpression) -> dict[str, list[Any]]:
        return self._reader.values([self.table.record(shown.user)], shown.time)

    def show(self, shown: OpenImpression) -> None:
        """Nothing: a history is of what users do."""

    def act(self, user: str, acted: InteractionRow) -> None:
        self.table.add(user, acted.action, acted.time, acted.item)

    def forget(self, user: str) -> int:
        return int(self.table.forget(user))


def parts(sources: Sequence[StreamedSource], capacity: int) -> list[Part]:
    """The parts that these sources need."""
    of = {kind: [source for source in sources if source.record == kind] for kind in RECORDS}
    made: list[Part] = [CounterPart(entity, of[entity], capacity) for entity in ENTITIES if of[entity]]
    return [*made, HistoryPart(of["history"], capacity)] if of["history"] else made
