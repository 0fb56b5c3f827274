"""Moving a store between numbers of shards. Suffix: U ids of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from embedding.sharding import Sharding
from embedding.snapshot.consumer_state import resynced
from embedding.snapshot.store_state import SavedPart, StoreState
from embedding.table_state import TableState
from embedding.value_checks import check_int
from recsys.errors import InvalidValueError


def reshard(states: Sequence[StoreState[TableState]], rank: int, sharding: Sharding) -> StoreState[TableState]:
    """The part that `rank` owns of the states of all shards of one save, or of that shard alone.

    Rank 0 gets the counters. Counts of ids not yet admitted are kept when one state is split, and start again when
    several are joined. The multiplexed rows are those of the first state. Consumers get a full resync.
    Raises InvalidValueError for a rank out of range, for missing shards, for shards of several saves, and for ids in
    more than one state.
    """
    if not states:
        raise InvalidValueError("no snapshot was given: give the folder of one, or those of all shards")
    check_int("shard", rank)
    if not 0 <= rank < sharding.ranks:
        raise InvalidValueError(f"there is no shard {rank} of {sharding.ranks}, choose 0 to {sharding.ranks - 1}")
    parts = [state.part for state in states]
    if len(parts) == 1 and (parts[0].shard, parts[0].shards) == (rank, sharding.ranks):
        return states[0]
    _check_complete(parts)
    tables = {name: _table([state.tables[name] for state in states], rank, sharding) for name in states[0].tables}
    numbers: dict[str, int] = {}
    followed: set[str] = set()
    for state in states:
        for name, entry in state.consumers.items():
            numbers[name] = max(numbers.get(name, 0), entry.consumer.sequence)
            followed |= entry.changed.keys()
    part = SavedPart(rank, sharding.ranks, _lineage(states)) if sharding.ranks > 1 else SavedPart()
    return StoreState(tables, states[0].multiplexed, resynced(numbers, followed), part)


def _check_complete(parts: Sequence[SavedPart]) -> None:
    if not all(part.same_save(parts[0]) for part in parts):
        saves = ", ".join(f"shard {part.shard} of {part.shards} of save {part.save}" for part in parts)
        raise InvalidValueError(f"the snapshots are not of one save: {saves}; load all shards of one save")
    given = sorted(part.shard for part in parts)
    if given != list(range(parts[0].shards)):
        names = ", ".join(map(str, given))
        raise InvalidValueError(f"the snapshots hold shards {names} of {parts[0].shards}: load each of them once")


def _lineage(states: Sequence[StoreState[TableState]]) -> str:
    return hashlib.sha256("".join(sorted(state.source for state in states)).encode()).hexdigest()[:16]


def _table(states: Sequence[TableState], rank: int, sharding: Sharding) -> TableState:
    joined = TableState.concat([state.take(sharding.owner(state.ids_U) == rank) for state in states])
    if len(np.unique(joined.ids_U)) < len(joined.ids_U):
        raise InvalidValueError("two of the snapshots hold the same id: they are not shards of one store")
    joined.admission = states[0].admission if len(states) == 1 else []
    joined.counters = joined.counters if rank == 0 else {}
    return joined
