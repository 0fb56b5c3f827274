"""After a checkpoint of other processes was loaded: ids and rows go to the processes that own them. Suffix: U ids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from embedding.table_state import TableState
from embedding.torchrec.ids import CollisionFreeIds
from embedding.torchrec.processes.ranks import Ranks


def move_to_owners(ids: CollisionFreeIds, ranks: Ranks) -> None:
    """Exchange ids that are where TorchRec put their rows, but belong to another process. Collective.

    A process that owns more than it has rows for keeps those of highest eviction priority, and counts the others as
    evicted.
    """
    table = ids.bound()
    state = table.state()
    mine_U = ids.owned(state.ids_U)
    if not ranks.largest(int(np.logical_not(mine_U).sum())):
        return
    arrived = _of_all(state.take(np.logical_not(mine_U)), ranks)
    whole = TableState.concat([state.take(mine_U), arrived.take(ids.owned(arrived.ids_U))])
    kept = whole.take(whole.evicted_last(table.table.capacity))
    rows = np.arange(len(kept.ids_U), dtype=np.int32)
    ids_R, seen_R = np.zeros(table.table.capacity, np.uint64), np.zeros(table.table.capacity, np.int64)
    ids_R[rows], seen_R[rows] = kept.ids_U, kept.seen_U << 8 | kept.freq_U
    table.rows.put(rows, kept.weights_UD, kept.state_UW)
    table.restore_from_rows(ids_R, seen_R, {}, evicted=len(whole.ids_U) - len(kept.ids_U))


def _of_all(state: TableState, ranks: Ranks) -> TableState:
    ids_U, seen_U, freq_U, weights_UD, state_UW = (ranks.together(column) for column in state.columns())
    return replace(state, ids_U=ids_U, seen_U=seen_U, freq_U=freq_U, weights_UD=weights_UD, state_UW=state_UW)
