"""A TorchRec model of tables, sharded over processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import (  # type: ignore[attr-defined]  # the public name of torchrec's is deprecated
    _apply_optimizer_in_backward as apply_optimizer_in_backward,
)
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.types import ShardingEnv, ShardingPlan
from torchrec.optim import RowWiseAdagrad

from embedding.ids.admission import Mask
from embedding.store import Ids, Table
from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection, CollisionFreeSharder
from embedding.torchrec.processes.routing import bucket_rows
from recsys.errors import InvalidValueError

FEATURE = "ids"
_SMALLEST_EPS = 1e-30  # below it a gradient of zero on an untrained row would be 0 / 0


def padded(dim: int) -> int:
    """The dimension for FBGEMM: the next multiple of four."""
    return -(-dim // 4) * 4


def rule(table: Table, device: torch.device) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """Optimizer class and arguments for FBGEMM. Raises InvalidValueError if it has no such kernel on the device."""
    optimizer = table.optimizer
    kinds: dict[str, type[torch.optim.Optimizer]] = {
        "rowwise_adagrad": RowWiseAdagrad,
        "adagrad": torch.optim.Adagrad,
    }
    if device.type == "cuda":
        kinds["adam"] = torch.optim.Adam
    if optimizer.kind not in kinds:
        raise InvalidValueError(
            f"table {table.name!r}: FBGEMM's {device.type} kernels have no {optimizer.kind}, "
            f"choose {' or '.join(kinds)} (or LocalStore, which has it)"
        )
    if optimizer.max_norm is not None:
        raise InvalidValueError(f"table {table.name!r}: FBGEMM does not clip, leave max_norm at None (or LocalStore)")
    if optimizer.l2:
        raise InvalidValueError(f"table {table.name!r}: its rows have no penalty, leave l2 at 0 (or LocalStore)")
    if table.cold_capacity:
        raise InvalidValueError(
            f"table {table.name!r}: FBGEMM has no rows on disk, leave cold_capacity at 0 (LocalStore)"
        )
    arguments: dict[str, Any] = {"lr": optimizer.lr / gradient_scale(table), "eps": max(optimizer.eps, _SMALLEST_EPS)}
    return kinds[optimizer.kind], arguments | ({"betas": optimizer.betas} if optimizer.kind == "adam" else {})


def gradient_scale(table: Table) -> float:
    """A factor for gradients that makes a mean of squares over padded columns one over the real columns."""
    return (padded(table.dim) / table.dim) ** 0.5 if table.optimizer.kind == "rowwise_adagrad" else 1.0


class ShardedTables(nn.Module):
    """One collection per table, so that tables are read and trained one by one.

    >>> model = ShardedTables({"t0": Table("film", dim=6)}, seed=0, world=1, device=torch.device("cpu"))
    >>> model.parts["t0"].embedding_bag_configs()[0].embedding_dim
    8
    """

    def __init__(self, tables: Mapping[str, Table], seed: int, world: int, device: torch.device) -> None:
        super().__init__()
        parts = {key: self._collection(key, table, seed, world, device) for key, table in tables.items()}
        self.parts = nn.ModuleDict(parts)

    @staticmethod
    def _collection(
        key: str, table: Table, seed: int, world: int, device: torch.device
    ) -> CollisionFreeEmbeddingBagCollection:
        rows = world * bucket_rows(table.capacity, world)
        config = EmbeddingBagConfig(
            name=key,
            embedding_dim=padded(table.dim),
            num_embeddings=rows,
            feature_names=[FEATURE],
            init_fn=lambda weights: weights,  # a row is written when an id gets it
        )
        collection = EmbeddingBagCollection(tables=[config], device=torch.device("meta"))
        optimizer, arguments = rule(table, device)
        apply_optimizer_in_backward(optimizer, collection.parameters(), arguments)
        own = {key: table}
        return CollisionFreeEmbeddingBagCollection(
            collection, tables=own, buckets=world, seed=seed, return_rows=world > 1
        )

    def forward(self, key: str, features: KeyedJaggedTensor) -> Any:
        return self.parts[key](features)


def plan(model: nn.Module, group: dist.ProcessGroup, device: torch.device) -> ShardingPlan:
    """The plan of TorchRec's planner: row-wise, in fused kernels."""
    topology = Topology(group.size(), device.type, local_world_size=group.size())
    planner = EmbeddingShardingPlanner(topology, storage_reservation=FixedPercentageStorageReservation(0), debug=False)
    return planner.collective_plan(model, [CollisionFreeSharder()], group)


def shard(model: nn.Module, group: dist.ProcessGroup, device: torch.device) -> DistributedModelParallel:
    """The model, row-wise over the group's processes."""
    env = ShardingEnv.from_process_group(group)
    sharders = [CollisionFreeSharder()]
    return DistributedModelParallel(model, env=env, device=device, plan=plan(model, group, device), sharders=sharders)


def features(ids_N: Ids, wanted_N: Mask | None, bags: int) -> KeyedJaggedTensor:
    """A bag of one for each id (that is wanted), an empty one for the others and up to `bags`."""
    if wanted_N is None and bags == len(ids_N):
        lengths = torch.ones(bags, dtype=torch.int32)
    else:
        lengths = torch.zeros(bags, dtype=torch.int32)
        lengths[: len(ids_N)] = 1 if wanted_N is None else torch.from_numpy(wanted_N)
    values = ids_N if wanted_N is None else ids_N[wanted_N]
    if not values.flags.writeable:
        values = values.copy()  # torch warns of tensors over read-only memory, though nothing writes to this one
    tensor = torch.from_numpy(values.view(np.int64))
    return KeyedJaggedTensor(keys=[FEATURE], values=tensor, lengths=lengths, length_per_key=[len(values)])
