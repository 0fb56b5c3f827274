"""One table of a checkpoint, as this process holds it. Suffix: U ids of this process's part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.distributed._shard.sharded_tensor.api import ShardedTensor

from embedding.ids.packed import LastSeen
from embedding.store import Ids
from embedding.torchrec.ids import CLOCK, CollisionFreeIds
from embedding.torchrec.processes.ranks import Ranks
from recsys.errors import CheckpointError, InvalidValueError

State = Mapping[str, Any]
Rows = dict[str, torch.Tensor]
"""Weights and optimizer states by their names, a row for each id."""


@dataclass(frozen=True, slots=True)
class SavedTable:
    """Ids, their clocks (minutes << 8 | frequency) and rows; only the live ones."""

    ids_U: Ids
    seen_U: LastSeen
    rows: Rows

    def owned(self, ids: CollisionFreeIds) -> SavedTable:
        """What belongs to this process."""
        mine_U = ids.owned(self.ids_U)
        rows = {name: values[torch.from_numpy(mine_U)] for name, values in self.rows.items()}
        return SavedTable(self.ids_U[mine_U], self.seen_U[mine_U], rows)

    def of_all(self, ranks: Ranks) -> SavedTable:
        """The parts of all processes. Collective."""
        rows = {name: torch.from_numpy(ranks.together(values.numpy())) for name, values in self.rows.items()}
        return SavedTable(ranks.together(self.ids_U), ranks.together(self.seen_U), rows)


def read_table(table: str, now: int | None, state: State, optimizer: State, ranks: Ranks) -> SavedTable:
    """This process's part of a table of a drop-in, or of a plain collection, whose ids are rows seen at `now` (ms).

    Raises CheckpointError if the table is not there, or cut by columns; InvalidValueError without a time.
    """
    rows = {"weight": weight_of(table, state)} | dict(optimizer_states(table, optimizer))
    places, parts = _divided(table, rows, ranks)
    words = _named(state, rf"_managed_collision_modules\.{re.escape(table)}\.last_seen")
    if words is None:
        if now is None:
            raise InvalidValueError(
                f"table {table!r}: set_time(model, now) first, rows of a plain collection have none"
            )
        return SavedTable(places, np.full(len(places), now // 60_000 << 8 | 1, np.int64), parts)
    ids = _named(state, rf"_managed_collision_modules\.{re.escape(table)}\.ids")
    seen_U = _local(table, words, ranks)[1].numpy() & (1 << CLOCK) - 1
    live_U = np.flatnonzero(seen_U)
    ids_U = _local(table, ids, ranks)[1].numpy().view(np.uint64)
    rows = {name: values[torch.from_numpy(live_U)] for name, values in parts.items()}
    return SavedTable(ids_U[live_U], seen_U[live_U], rows)


def weight_of(table: str, state: State) -> Any:
    """The rows of a table in the state of any collection."""
    found = _named(state, rf"(embedding_bags|embeddings)\.{re.escape(table)}\.weight")
    if found is None:
        raise CheckpointError(f"the checkpoint has no table {table!r}: it has {', '.join(state) or 'nothing'}")
    return found


def optimizer_states(table: str, optimizer: State) -> Iterator[tuple[str, Any]]:
    """The fused optimizer's states of a table that have an entry for each row, by name."""
    states = optimizer.get("state", optimizer)
    for name, value in (weight_of(table, states) if states else {}).items():
        if isinstance(value, ShardedTensor) or (isinstance(value, torch.Tensor) and value.dim() > 0):
            yield name.removeprefix(f"{table}."), value


def is_of_table(table: str, key: str) -> bool:
    """Whether an entry of a state dict is of this table."""
    name = re.escape(table)
    return bool(
        re.search(rf"(^|\.)((embedding_bags|embeddings)\.{name}\.weight|_managed_collision_modules\.{name}\.\w+)$", key)
    )


def _named(state: State, pattern: str) -> Any:
    """The entry whose name ends so, or None. Raises CheckpointError if there are several."""
    found = [key for key in state if re.search(rf"(^|\.)({pattern})$", key)]
    if len(found) > 1:
        raise CheckpointError(f"the checkpoint has one table twice: {', '.join(found)}")
    return state[found[0]] if found else None


def _divided(table: str, rows: Mapping[str, Any], ranks: Ranks) -> tuple[Ids, Rows]:
    """Numbers of the rows in this process's part, and their values."""
    parts = {name: _local(table, value, ranks) for name, value in rows.items()}
    places = parts["weight"][0]
    for name, (own, values) in parts.items():
        if not np.array_equal(own, places):
            raise CheckpointError(f"table {table!r}: {name} has {len(values)} rows where weight has {len(places)}")
    return places, {name: values for name, (_, values) in parts.items()}


def _local(table: str, value: Any, ranks: Ranks) -> tuple[Ids, torch.Tensor]:
    """Row numbers and rows: the local shards of a tensor, or this process's share of one that all have whole."""
    if not isinstance(value, ShardedTensor):
        begin, end = (len(value) * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1))
        return np.arange(begin, end, dtype=np.uint64), value[begin:end].detach().cpu()
    places, parts = [np.zeros(0, np.uint64)], []
    for shard in value.local_shards():
        begin, *column = shard.metadata.shard_offsets
        if any(column) or list(shard.tensor.shape[1:]) != list(value.metadata().size[1:]):
            raise CheckpointError(f"table {table!r} is cut by columns in the checkpoint: gather it to whole tensors")
        places.append(np.arange(begin, begin + len(shard.tensor), dtype=np.uint64))
        parts.append(shard.tensor.detach().cpu())
    empty = torch.zeros(0, *value.metadata().size[1:], dtype=value.metadata().tensor_properties.dtype)
    return np.concatenate(places), torch.cat([empty, *parts])
