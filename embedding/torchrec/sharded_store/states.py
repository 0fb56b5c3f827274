"""A store's state across processes: gathered for a snapshot, and divided after loading one.

A snapshot is by id, so that it can move between any numbers of processes, and between the kinds of store.
Suffixes: N ids, U ids of a table.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from embedding.ids import counting_filter
from embedding.ids.admission import Mask
from embedding.ids.id_lifecycle import COUNTED
from embedding.sharding import HashBuckets
from embedding.snapshot.consumer_state import ConsumerState
from embedding.store import Ids, TableDelta
from embedding.table_state import Arrays, TableState
from embedding.torchrec.processes.ranks import Ranks


def owned(ids_N: Ids, ranks: Ranks) -> Mask:
    """Which ids this process owns: TorchRec sends the ids of one bucket to each process."""
    mask_N: Mask = HashBuckets(ranks.size, buckets=ranks.size).owner(ids_N) == ranks.rank
    return mask_N


def joined(state: TableState, ranks: Ranks) -> TableState:
    """The whole table, from the parts of all processes. Collective."""
    clocks = ranks.together(np.array([[state.step, state.lookups]]))
    columns = [ranks.together(column) for column in state.columns()]
    counters = ranks.total({name: state.counters.get(name, 0) for name in COUNTED})
    step, lookups = clocks.max(axis=0).tolist()
    return TableState(
        ids_U=columns[0],
        seen_U=columns[1],
        freq_U=columns[2],
        weights_UD=columns[3],
        state_UW=columns[4],
        step=step,
        lookups=lookups,
        counters=counters,
        admission=_joined_counts(state.admission[0], ranks),
    )


def _joined_counts(own: Arrays, ranks: Ranks) -> list[Arrays]:
    """Counts towards admission, of all processes."""
    gathered = {name: ranks.gather(array) for name, array in own.items()}
    return counting_filter.joined(
        [{name: parts[rank] for name, parts in gathered.items()} for rank in range(ranks.size)]
    )


def part_of(state: TableState, ranks: Ranks) -> TableState:
    """This process's part of a table. The first process gets the counters.

    Counts of ids not yet admitted start again if the number of processes is another one and one of both does not divide
    the sections of a filter.
    """
    counters = state.counters if ranks.rank == 0 else {}
    part = replace(state.take(owned(state.ids_U, ranks)), counters=counters)
    if len(state.admission) == 1 and "ids" in state.admission[0]:  # exact ones, of a reference store
        own_M = owned(state.admission[0]["ids"], ranks)
        part.admission = [{name: column[own_M] for name, column in state.admission[0].items()}]
    else:
        part.admission = counting_filter.divided(state.admission, ranks.rank, ranks.size)
    return part


def joined_consumer(entry: ConsumerState, ranks: Ranks) -> ConsumerState:
    """All changes that a consumer has not taken yet, of all processes. Collective."""
    pending = entry.consumer.pending
    if pending is not None:
        tables = {
            name: TableDelta(*(ranks.together(array) for array in (delta.ids_U, delta.values_UD, delta.removed)))
            for name, delta in pending.tables.items()
        }
        pending = replace(pending, full=bool(ranks.together(np.array([pending.full])).any()), tables=tables)
    full = bool(ranks.together(np.array([entry.consumer.full])).any())
    return ConsumerState(
        replace(entry.consumer, full=full, pending=pending),
        {name: ranks.together(ids) for name, ids in entry.changed.items()},
        {name: ranks.together(ids) for name, ids in entry.removed.items()},
    )


def consumer_part_of(entry: ConsumerState, ranks: Ranks) -> ConsumerState:
    """The changes of ids that this process owns."""
    pending = entry.consumer.pending
    if pending is not None:
        tables = {}
        for name, delta in pending.tables.items():
            at = owned(delta.ids_U, ranks)
            tables[name] = TableDelta(delta.ids_U[at], delta.values_UD[at], delta.removed[owned(delta.removed, ranks)])
        pending = replace(pending, tables=tables)
    return ConsumerState(
        replace(entry.consumer, pending=pending),
        {name: ids[owned(ids, ranks)] for name, ids in entry.changed.items()},
        {name: ids[owned(ids, ranks)] for name, ids in entry.removed.items()},
    )
