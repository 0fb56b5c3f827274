"""Consumers of deltas in a snapshot: their sequence numbers, their unacknowledged deltas, and what changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from embedding.delta.change_log import ChangeLog
from embedding.delta.consumers import Consumer
from embedding.store import Delta, Ids, TableDelta
from embedding.table_state import Arrays

_POSITION = ("sequence", "full", "epoch", "previous_epoch")
"""Fields of a delta in a snapshot, beside its tables."""


@dataclass(slots=True)
class ConsumerState:
    """A consumer, and the ids that changed since its last delta was made.

    >>> arrays, meta = pack({"redis": ConsumerState(Consumer(sequence=3))})
    >>> unpack(arrays, meta)["redis"].consumer.sequence
    3
    """

    consumer: Consumer
    changed: dict[str, Ids] = field(default_factory=dict)
    removed: dict[str, Ids] = field(default_factory=dict)


class Followed(Protocol):
    """Rows whose changes go into deltas."""

    @property
    def changes(self) -> ChangeLog: ...

    def pending(self, consumer: str) -> tuple[Ids, Ids]:
        """The ids that changed, and those removed, since the consumer's last delta."""
        ...

    def resume(self, consumer: str, changed: Ids, removed: Ids) -> None:
        """Follow for a consumer that has these changes still to take."""
        ...


def state_of(name: str, consumer: Consumer, followed: Mapping[str, Followed]) -> ConsumerState:
    """A consumer with what changed; its next delta is full if changes of some table are no longer known one by one."""
    overdue = any(own.changes.overdue(name) for own in followed.values())
    state = ConsumerState(replace(consumer, full=consumer.full or overdue))
    for table, own in followed.items():
        state.changed[table], state.removed[table] = own.pending(name)
    return state


def resume(name: str, state: ConsumerState, followed: Mapping[str, Followed], left_out: Mapping[str, Ids]) -> None:
    """Follow again for a consumer; ids that were `left_out` of the tables count as removed."""
    for table, own in followed.items():
        gone = left_out.get(table, np.zeros(0, np.uint64))
        own.resume(name, state.changed[table], np.append(state.removed[table], gone))


def resynced(consumers: Mapping[str, int], names: Iterable[str]) -> dict[str, ConsumerState]:
    """Consumers by the sequence number of their last delta, whose next delta is full, with these tables."""
    nothing = {table: np.zeros(0, np.uint64) for table in names}
    return {name: ConsumerState(Consumer(number), dict(nothing), dict(nothing)) for name, number in consumers.items()}


def pack(consumers: Mapping[str, ConsumerState]) -> tuple[Arrays, dict[str, Any]]:
    arrays: Arrays = {}
    meta = []
    for i, (name, entry) in enumerate(consumers.items()):
        pending = entry.consumer.pending
        names = sorted(set(entry.changed) | set(entry.removed) | set(pending.tables if pending else ()))
        for k, table in enumerate(names):
            arrays[f"{i}.{k}.changed"] = np.sort(entry.changed.get(table, np.zeros(0, np.uint64)))
            arrays[f"{i}.{k}.removed"] = np.sort(entry.removed.get(table, np.zeros(0, np.uint64)))
            if pending and table in pending.tables:
                cut = pending.tables[table]
                arrays |= {f"{i}.{k}.ids": cut.ids_U, f"{i}.{k}.values": cut.values_UD, f"{i}.{k}.gone": cut.removed}
        meta.append(
            {
                "name": name,
                "sequence": entry.consumer.sequence,
                "full": entry.consumer.full,
                "epoch": entry.consumer.epoch,
                "pending": None if pending is None else {name: getattr(pending, name) for name in _POSITION},
                "tables": names,
            }
        )
    return arrays, {"consumers": meta}


def unpack(arrays: Arrays, meta: dict[str, Any]) -> dict[str, ConsumerState]:
    consumers = {}
    for i, spec in enumerate(meta["consumers"]):
        pending = None
        at = dict(enumerate(spec["tables"]))
        if spec["pending"] is not None:
            cuts = {
                table: TableDelta(arrays[f"{i}.{k}.ids"], arrays[f"{i}.{k}.values"], arrays[f"{i}.{k}.gone"])
                for k, table in at.items()
                if f"{i}.{k}.ids" in arrays
            }
            pending = Delta(**spec["pending"], tables=cuts)
        consumers[spec["name"]] = ConsumerState(
            Consumer(spec["sequence"], spec["full"], pending, spec["epoch"]),
            {table: arrays[f"{i}.{k}.changed"] for k, table in at.items()},
            {table: arrays[f"{i}.{k}.removed"] for k, table in at.items()},
        )
    return consumers
