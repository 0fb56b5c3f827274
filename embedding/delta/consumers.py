"""Which consumer has which changes: sequence numbers, repeatable deltas, full resyncs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from embedding.store import Delta, Fallback, TableDelta
from embedding.value_checks import check_int
from recsys.errors import InvalidValueError


@dataclass(slots=True)
class Consumer:
    """One reader of deltas. `pending` is repeated until acknowledged; `full` says whether the next one must be full.

    >>> consumers = DeltaConsumers()
    >>> consumers.subscribe("redis")
    >>> consumers["redis"].full, consumers["redis"].sequence
    (True, 0)
    """

    sequence: int = 0
    full: bool = True
    pending: Delta | None = None
    epoch: str = ""
    """The epoch of the last delta."""


class DeltaConsumers:
    """Makes deltas, each once: it is repeated, byte for byte, until it is acknowledged.

    >>> consumers = DeltaConsumers()
    >>> consumers.subscribe("redis")
    >>> consumers.delta("redis", lambda full: {}).sequence, consumers.delta("redis", lambda full: {}).sequence
    (1, 1)
    >>> consumers.acknowledge("redis", 1)
    >>> consumers.delta("redis", lambda full: {}).sequence
    2
    """

    def __init__(self, fallback: dict[str, Fallback] | None = None, epoch: str | None = None) -> None:
        self._by_name: dict[str, Consumer] = {}
        self._fallback = fallback or {}
        self._epoch = epoch or secrets.token_hex(8)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Consumer:
        if name not in self._by_name:
            raise InvalidValueError(f"unknown consumer {name!r}: call subscribe({name!r}) first")
        return self._by_name[name]

    def subscribe(self, name: str) -> None:
        """Make the next delta of `name` a full one; its sequence numbers continue."""
        if not isinstance(name, str):
            raise InvalidValueError(f"consumer {name!r}: write its name as a str")
        known = self._by_name.get(name)
        self._by_name[name] = Consumer(known.sequence, epoch=known.epoch) if known else Consumer()

    def restore(self, name: str, consumer: Consumer) -> None:
        """Restore a consumer from a snapshot, which does not hold the `fallback` of its pending delta."""
        pending = consumer.pending and replace(consumer.pending, fallback=self._fallback)
        self._by_name[name] = replace(consumer, pending=pending)

    def delta(self, name: str, take_changes: Callable[[bool], dict[str, TableDelta]]) -> Delta:
        """The pending delta, or a new one of take_changes(full). Raises InvalidValueError for an unknown consumer.

        If the changes cannot be read, the next delta is a full one: some of them may be taken already.
        """
        consumer = self[name]
        if consumer.pending is None:
            full, consumer.full = consumer.full, True
            changes = take_changes(full)
            consumer.sequence += 1
            consumer.pending = Delta(consumer.sequence, full, changes, self._fallback, self._epoch, consumer.epoch)
            consumer.full, consumer.epoch = False, self._epoch
        return consumer.pending

    def acknowledge(self, name: str, sequence: int) -> None:
        """Drop the pending delta. Ignores older numbers; raises InvalidValueError for a number not yet given out."""
        consumer = self[name]
        check_int("the number of a delta", sequence)
        if sequence > consumer.sequence:
            raise InvalidValueError(
                f"consumer {name!r} acknowledges delta {sequence}, but the last one was {consumer.sequence}: "
                "it reads another store's deltas, subscribe again"
            )
        if consumer.pending is not None and consumer.pending.sequence == sequence:
            consumer.pending = None


class Follower:
    """The reader's check that deltas are applied in order; after a gap it needs a full resync.

    The same holds after the store was restored to a state before the last delta applied, although the numbers
    continue from there: a delta is identified by its epoch and number.

    >>> follower = Follower()
    >>> [follower.accepts(Delta(sequence, full, {})) for sequence, full in ((1, True), (3, False), (4, True))]
    [True, False, True]
    """

    def __init__(self) -> None:
        self._position: tuple[str, int] | None = None

    def accepts(self, delta: Delta) -> bool:
        """Whether `delta` may be applied now. If not, an earlier one is missing: subscribe again."""
        position, previous = (delta.epoch, delta.sequence), (delta.previous_epoch, delta.sequence - 1)
        if not delta.full and self._position not in (position, previous):
            return False
        self._position = position
        return True
