"""Who has seen which changes: sequence numbers, repeatable deltas, full resyncs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from embedding.store import Delta, Fallback, TableDelta


@dataclass(slots=True)
class Consumer:
    """One reader of deltas. `pending` is repeated until it is acknowledged; `full` is what the next one must be.

    >>> consumers = Consumers()
    >>> consumers.subscribe("redis")
    >>> consumers["redis"].full, consumers["redis"].sequence
    (True, 0)
    """

    sequence: int = 0
    full: bool = True
    pending: Delta | None = None


class Consumers:
    """Hands out deltas one after the other; a delta is made once and repeated, byte for byte, until acknowledged.

    >>> consumers = Consumers()
    >>> consumers.subscribe("redis")
    >>> consumers.delta("redis", lambda full: {}).sequence, consumers.delta("redis", lambda full: {}).sequence
    (1, 1)
    >>> consumers.acknowledge("redis", 1)
    >>> consumers.delta("redis", lambda full: {}).sequence
    2
    """

    def __init__(self, fallback: dict[str, Fallback] | None = None) -> None:
        self._by_name: dict[str, Consumer] = {}
        self._fallback = fallback or {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Consumer:
        if name not in self._by_name:
            raise ValueError(f"consumer {name!r} is unknown: call subscribe({name!r}) first")
        return self._by_name[name]

    def subscribe(self, name: str) -> None:
        """The next delta of `name` is full; its numbers go on from where they were."""
        known = self._by_name.get(name)
        self._by_name[name] = Consumer(sequence=known.sequence if known else 0)

    def restore(self, name: str, consumer: Consumer) -> None:
        """Go on with a consumer of a snapshot, which does not keep what every delta says of fallbacks."""
        pending = consumer.pending and replace(consumer.pending, fallback=self._fallback)
        self._by_name[name] = replace(consumer, pending=pending)

    def delta(self, name: str, cut: Callable[[bool], dict[str, TableDelta]]) -> Delta:
        """The pending delta, or a new one made of cut(full)."""
        consumer = self[name]
        if consumer.pending is None:
            consumer.sequence += 1
            consumer.pending = Delta(consumer.sequence, consumer.full, cut(consumer.full), self._fallback)
            consumer.full = False
        return consumer.pending

    def acknowledge(self, name: str, sequence: int) -> None:
        """Forget the pending delta. An older number changes nothing; one never handed out is a ValueError."""
        consumer = self[name]
        if sequence > consumer.sequence:
            raise ValueError(
                f"consumer {name!r} acknowledges delta {sequence}, the last one was {consumer.sequence}: "
                "it has another store's deltas, subscribe again"
            )
        if consumer.pending is not None and consumer.pending.sequence == sequence:
            consumer.pending = None


class Follower:
    """The reading side's check: deltas apply in order, and a gap asks for a full resync.

    >>> follower = Follower()
    >>> [follower.accepts(Delta(sequence, full, {})) for sequence, full in ((1, True), (3, False), (4, True))]
    [True, False, True]
    """

    def __init__(self) -> None:
        self.sequence: int | None = None

    def accepts(self, delta: Delta) -> bool:
        """Whether `delta` may be applied now. False: something is missing before it, subscribe again."""
        if not delta.full and (self.sequence is None or delta.sequence not in (self.sequence, self.sequence + 1)):
            return False
        self.sequence = delta.sequence
        return True
