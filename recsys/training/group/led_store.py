"""The embedding store of a group of processes, as the leading process uses it.

Suffixes: N ids of a call, D dimension.
"""

from __future__ import annotations

from pathlib import Path

from embedding.store import Delta, EmbeddingStore, Floats, Ids, Lookup, Table
from recsys.training.group.calls import Call
from recsys.training.group.channel import Channel
from recsys.training.group.deltas import joined_delta


class LedStore:
    """An `EmbeddingStore` whose calls are made in one process; the others (`GroupMember`) then take part in them.

    `store` is one that all processes share, such as `TorchRecStore`. A delta has the changes of all processes.
    """

    def __init__(self, store: EmbeddingStore, channel: Channel) -> None:
        self._store, self._channel = store, channel

    def _others(self, name: str, *words: str | int) -> None:
        self._channel.send(Call(name, words))

    @property
    def tables(self) -> dict[str, Table]:
        return self._store.tables

    def lookup(self, table: str, ids_N: Ids, now: int) -> Lookup:
        self._others("lookup", table, now)
        return self._store.lookup(table, ids_N, now)

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        self._others("peek", table)
        return self._store.peek(table, ids_N)

    def update(self, lookup: Lookup, grads_ND: Floats) -> None:
        self._others("update", lookup.table)
        self._store.update(lookup, grads_ND)

    def expire(self, now: int) -> int:
        self._others("expire", now)
        return self._store.expire(now)

    def forget(self, table: str, ids_N: Ids) -> int:
        self._others("forget", table, *ids_N.tolist())
        return self._store.forget(table, ids_N)

    def subscribe(self, consumer: str) -> None:
        self._others("subscribe", consumer)
        self._store.subscribe(consumer)

    def delta(self, consumer: str) -> Delta:
        self._others("delta", consumer)
        return joined_delta(self._store, consumer, self._channel.ranks)

    def acknowledge(self, consumer: str, sequence: int) -> None:
        self._others("acknowledge", consumer, sequence)
        self._store.acknowledge(consumer, sequence)

    def save(self, folder: Path | str) -> None:
        self._others("save", str(folder))
        self._store.save(folder)

    def load(self, folder: Path | str) -> None:
        self._others("load", str(folder))
        self._store.load(folder)

    def digest(self) -> str:
        self._others("digest")
        return self._store.digest()

    def counters(self, table: str) -> dict[str, int]:
        self._others("counters", table)
        return self._store.counters(table)
