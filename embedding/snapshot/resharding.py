"""Moving a store between numbers of shards. A shard is a range of the hash space: splitting is a streaming pass.

Suffix: U ids of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.snapshot.consumer_state import resynced
from embedding.snapshot.snapshot import StoreState, TableState
from embedding.store import Ids


def shard_of(ids_U: Ids, shards: int) -> npt.NDArray[np.int64]:
    """The shard of each id: the high multiply of its mixed id.

    >>> shard_of(np.array([0, 1, 2**64 - 1], np.uint64), 4).tolist()
    [3, 2, 3]
    """
    high_U = (mix(ids_U) >> np.uint64(32)) * np.uint64(shards) >> np.uint64(32)
    return high_U.astype(np.int64)


def reshard(states: Sequence[StoreState], shard: int, shards: int) -> StoreState:
    """Shard `shard` of `shards` out of the states of any number of shards that together hold every id once.

    Counters go to shard 0; counts of ids not yet admitted are kept when one state is split and start again when several
    are joined; the shared fallback is the first state's. Consumers get a full resync. Raises ValueError for ids held
    twice.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard {shard} of {shards} does not exist: choose 0 to {shards - 1}")
    if len(states) == 1 and shards == 1:
        return states[0]
    tables = {name: _table([state.tables[name] for state in states], shard, shards) for name in states[0].tables}
    numbers: dict[str, int] = {}
    followed: set[str] = set()
    for state in states:
        for name, entry in state.consumers.items():
            numbers[name] = max(numbers.get(name, 0), entry.consumer.sequence)
            followed |= entry.changed.keys()
    return StoreState(tables, states[0].fallback, resynced(numbers, followed))


def _table(states: list[TableState], shard: int, shards: int) -> TableState:
    mine = [np.flatnonzero(shard_of(state.ids_U, shards) == shard) for state in states]
    parts = [
        replace(
            state,
            ids_U=state.ids_U[which],
            seen_U=state.seen_U[which],
            freq_U=state.freq_U[which],
            weights_UD=state.weights_UD[which],
            state_UW=state.state_UW[which],
        )
        for state, which in zip(states, mine, strict=True)
    ]
    ids_U = np.concatenate([part.ids_U for part in parts])
    if len(np.unique(ids_U)) < len(ids_U):
        raise ValueError("two of the snapshots hold the same id: they are not shards of one store")
    counters: dict[str, int] = {}
    for state in states if shard == 0 else []:
        for name, count in state.counters.items():
            counters[name] = counters.get(name, 0) + count
    return TableState(
        ids_U,
        np.concatenate([part.seen_U for part in parts]),
        np.concatenate([part.freq_U for part in parts]),
        np.concatenate([part.weights_UD for part in parts]),
        np.concatenate([part.state_UW for part in parts]),
        max(state.step for state in states),
        max(state.draws for state in states),
        counters,
        states[0].gate if len(states) == 1 else {},
    )
