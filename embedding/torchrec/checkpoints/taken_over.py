"""A checkpoint of any number of rows, buckets and processes into a model, and one of a plain collection.

take_over(model, other.state_dict(), other.fused_optimizer.state_dict())
saved = empty_state(model, {"film": 1_000_000})          # a checkpoint on disk, and the rows that it has
torch.distributed.checkpoint.load(saved, checkpoint_id=folder)
take_over(model, saved["model"], saved["optimizer"])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torch.distributed._shard.sharded_tensor.shard import Shard
from torch.distributed.tensor import DTensor

from embedding.torchrec.checkpoints.saved_tables import (
    SavedTable,
    State,
    is_of_table,
    optimizer_states,
    read_table,
    weight_of,
)
from embedding.torchrec.collection import collections
from embedding.torchrec.ids import CollisionFreeIds
from embedding.torchrec.processes.ranks import Ranks
from embedding.value_checks import check_int
from recsys.errors import CheckpointError, InvalidValueError


def take_over(model: Any, state: State, optimizer: State | None = None) -> None:
    """Load the state dicts of another model, and of its fused optimizer, into a sharded one. Collective.

    Tables are found by name, whatever their rows, buckets and processes were. Those of a plain collection, whose ids
    are rows, count as seen at the time that was set. Values are sharded tensors, whose shards the processes have
    between them, or tensors that every process has whole. Without `optimizer` its state begins empty. Counts of ids
    that are not yet admitted begin again, and so do counters.

    Raises CheckpointError, before anything changes, if a process has fewer rows than live ids, if dimensions or
    optimizer differ, or if a table or dense weight is missing; InvalidValueError as `collections`, and for what is no
    state dict.
    """
    for what, given in (("state", state), ("optimizer", {} if optimizer is None else optimizer)):
        if not isinstance(given, Mapping):
            raise InvalidValueError(f"{what} is {given!r:.80}, write what its state_dict() returned")
    ids = {name: own for collection in collections(model) for name, own in collection.ids.items()}
    ranks = Ranks(collections(model)[0].process_group, torch.device("cpu"))
    own_rows = {name: _own_rows(name, model) for name in ids}
    found = {}
    for name, own in ids.items():
        part = read_table(name, own.now, state, optimizer or {}, ranks)
        _check_alike(name, part, own_rows[name], bool(optimizer))
        found[name] = part.of_all(ranks).owned(own)
        _check_room(own, len(found[name].ids_U), ranks)
    dense = _dense(model, state, list(ids))
    for collection in collections(model):
        collection.clear()
    for name, own in ids.items():
        _fill(own, found[name], own_rows[name])
    model.load_state_dict(dict(model.state_dict()) | dense)


def _own_rows(table: str, model: Any) -> dict[str, torch.Tensor]:
    """Weights and optimizer states of this process, where its kernels have them."""
    rows = {"weight": weight_of(table, model.state_dict())}
    rows |= dict(optimizer_states(table, model.fused_optimizer.state_dict()))
    return {name: _in_place(value) for name, value in rows.items()}


def _in_place(value: Any) -> torch.Tensor:
    if isinstance(value, ShardedTensor):
        value = value.local_shards()[0].tensor
    local: torch.Tensor = value.to_local() if isinstance(value, DTensor) else value
    return local.detach()


def _check_alike(table: str, saved: SavedTable, own: dict[str, torch.Tensor], states: bool) -> None:
    for name in own if states else ["weight"]:
        there, here = saved.rows.get(name), list(own[name].shape[1:])
        if there is None:
            raise CheckpointError(
                f"table {table!r}: the checkpoint's optimizer has no {name}: take the optimizer it was saved with, or "
                "leave `optimizer` out to begin with an empty state"
            )
        if list(there.shape[1:]) != here:
            raise CheckpointError(
                f"table {table!r}: {name} of a row is {list(there.shape[1:])} in the checkpoint and {here} here: make "
                "the model with the same dimension and optimizer"
            )


def _check_room(own: CollisionFreeIds, wanted: int, ranks: Ranks) -> None:
    room, most = own.output_size(), ranks.largest(wanted)
    if most > room:
        step = own.buckets()
        enough = -(-most * ranks.size // step) * step
        raise CheckpointError(
            f"table {own.name!r}: a process owns {most} live ids of the checkpoint and has {room} rows: make it with "
            f"num_embeddings of at least {enough}, or expire ids before saving"
        )


def _dense(model: Any, state: State, tables: list[str]) -> dict[str, Any]:
    """What is not of tables. Raises CheckpointError unless it is what the model has; none at all is right, too."""

    def others(names: Any) -> set[str]:
        return {name for name in names if not any(is_of_table(table, name) for table in tables)}

    there, here = others(state), others(model.state_dict())
    if there and there != here:
        raise CheckpointError(f"only in one of checkpoint and model: {', '.join(sorted(there ^ here))}")
    return {name: state[name] for name in there}


def _fill(own: CollisionFreeIds, saved: SavedTable, rows: dict[str, torch.Tensor]) -> None:
    n, capacity = len(saved.ids_U), own.output_size()
    ids_R, seen_R = np.zeros(capacity, np.uint64), np.zeros(capacity, np.int64)
    ids_R[:n], seen_R[:n] = saved.ids_U, saved.seen_U
    with torch.no_grad():
        for name, values in rows.items():
            kept = saved.rows.get(name)
            values.data[:n] = torch.zeros_like(values[:n]) if kept is None else kept.to(values)
    own.bound().restore_from_rows(ids_R, seen_R, {})


def empty_state(model: Any, rows: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """The state of `model` with other numbers of rows by table, which `torch.distributed.checkpoint.load` can fill.

    {"model": ..., "optimizer": ...}, the sparse parts divided equally among the processes. Raises CheckpointError for a
    table that the model does not have; InvalidValueError as `collections`, and for rows that are not counted.
    """
    if not isinstance(rows, Mapping):
        raise InvalidValueError(f'rows is {rows!r:.80}, write them by table, such as {{"film": 1_000_000}}')
    for table, count in rows.items():
        check_int(f"table {table!r}: rows", count, least=1)
    ranks = Ranks(collections(model)[0].process_group, torch.device("cpu"))
    weights, states = dict(model.state_dict()), dict(model.fused_optimizer.state_dict()["state"])
    counted = [name for name in weights if name.endswith(".counts")]  # of filters of another size
    for name in counted:
        del weights[name]
    for table, count in rows.items():
        weight_of(table, weights)
        for each in (weights, *states.values()):
            each |= {name: _share(value, count, ranks) for name, value in each.items() if _has_rows(table, name, value)}
    return {"model": weights, "optimizer": {"state": states}}


def _has_rows(table: str, name: str, value: Any) -> bool:
    state = name.startswith(f"{table}.") or is_of_table(table, name)
    return state and isinstance(value, ShardedTensor)


def _share(like: ShardedTensor, rows: int, ranks: Ranks) -> ShardedTensor:
    begin, end = (rows * rank // ranks.size for rank in (ranks.rank, ranks.rank + 1))
    size = [rows, *like.metadata().size[1:]]
    tensor = torch.zeros([end - begin, *size[1:]], dtype=like.metadata().tensor_properties.dtype)
    offsets = [begin] + [0] * (len(size) - 1)
    where = ShardMetadata(shard_offsets=offsets, shard_sizes=list(tensor.shape), placement=f"rank:{ranks.rank}/cpu")
    made: ShardedTensor = ShardedTensor._init_from_local_shards([Shard(tensor, where)], size, process_group=ranks.group)
    return made
