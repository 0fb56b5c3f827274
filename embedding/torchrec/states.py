"""A store's state across processes: put together for a snapshot, dealt out again after one.

A snapshot is by id, so it moves between any numbers of processes, and between this store and the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from embedding.delta.consumers import Consumer
from embedding.ids.admission import Mask
from embedding.ids.id_lifecycle import COUNTED
from embedding.snapshot.consumer_state import ConsumerState
from embedding.snapshot.snapshot import TableState
from embedding.snapshot.tensor_file import Arrays
from embedding.store import Delta, Ids, TableDelta
from embedding.torchrec.ranks import Ranks
from embedding.torchrec.routing import scatter


def owned(ranks: Ranks) -> Callable[[Ids], Mask]:
    """Which ids are this process's."""
    return lambda ids: scatter(ids) % np.uint64(ranks.size) == ranks.rank


def joined(state: TableState, ranks: Ranks) -> TableState:
    """The whole of a table. Collective."""
    clocks = ranks.together(np.array([[state.step, state.draws]]))
    return TableState(
        ranks.together(state.ids_U),
        ranks.together(state.seen_U),
        ranks.together(state.freq_U),
        ranks.together(state.weights_UD),
        ranks.together(state.state_UW),
        int(clocks[:, 0].max()),
        int(clocks[:, 1].max()),
        ranks.total({name: state.counters.get(name, 0) for name in COUNTED}),
        _joined_gate(state.gate, ranks),
    )


def _joined_gate(gate: Arrays, ranks: Ranks) -> Arrays:
    """Counts of ids without a row are buckets of a filter, of a size that only this number of processes has."""
    if ranks.size == 1 or not gate:
        return gate
    whole: Arrays = {name: np.zeros(0, array.dtype) for name, array in gate.items()}
    whole["forgotten"] = ranks.together(gate["forgotten"]).sum(keepdims=True)
    for name, array in gate.items():
        for rank, part in enumerate(ranks.gather(array)):
            whole[f"{rank} of {ranks.size}.{name}"] = part
    return whole


def dealt(state: TableState, ranks: Ranks) -> TableState:
    """This process's part of a table; totals are kept by the first process."""
    mine = owned(ranks)(state.ids_U)
    prefix = f"{ranks.rank} of {ranks.size}."
    own = {name.removeprefix(prefix): array for name, array in state.gate.items() if name.startswith(prefix)}
    plain = {name: array for name, array in state.gate.items() if " of " not in name}
    if plain and not own and ranks.rank:
        plain["forgotten"] = np.zeros(1, np.int64)
    return replace(
        state,
        ids_U=state.ids_U[mine],
        seen_U=state.seen_U[mine],
        freq_U=state.freq_U[mine],
        weights_UD=state.weights_UD[mine],
        state_UW=state.state_UW[mine],
        counters=state.counters if ranks.rank == 0 else {},
        gate=own or plain,
    )


def joined_consumer(entry: ConsumerState, ranks: Ranks) -> ConsumerState:
    """Everything a consumer has yet to be told. Collective."""
    pending = entry.consumer.pending
    if pending is not None:
        tables = {
            name: TableDelta(*(ranks.together(array) for array in (cut.ids_U, cut.values_UD, cut.removed)))
            for name, cut in pending.tables.items()
        }
        pending = Delta(pending.sequence, bool(ranks.together(np.array([pending.full])).any()), tables)
    full = bool(ranks.together(np.array([entry.consumer.full])).any())
    return ConsumerState(
        Consumer(entry.consumer.sequence, full, pending),
        {name: ranks.together(ids) for name, ids in entry.changed.items()},
        {name: ranks.together(ids) for name, ids in entry.removed.items()},
    )


def dealt_consumer(entry: ConsumerState, ranks: Ranks) -> ConsumerState:
    """What this process has yet to tell a consumer."""
    mine = owned(ranks)
    pending = entry.consumer.pending
    if pending is not None:
        tables = {}
        for name, cut in pending.tables.items():
            at = mine(cut.ids_U)
            tables[name] = TableDelta(cut.ids_U[at], cut.values_UD[at], cut.removed[mine(cut.removed)])
        pending = Delta(pending.sequence, pending.full, tables)
    return ConsumerState(
        Consumer(entry.consumer.sequence, entry.consumer.full, pending),
        {name: ids[mine(ids)] for name, ids in entry.changed.items()},
        {name: ids[mine(ids)] for name, ids in entry.removed.items()},
    )
