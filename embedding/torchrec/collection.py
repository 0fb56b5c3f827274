"""An `EmbeddingBagCollection` whose ids never collide, expire, and stay within memory: put it into a TorchRec model.

model.sparse = CollisionFreeEmbeddingBagCollection(model.sparse, ttl=30 * DAY)   # any 64-bit ids from now on
model = DistributedModelParallel(model, sharders=[CollisionFreeSharder()])       # one process will do
...
set_time(model, now)            # event time, ms: before each training step
expire(model, now)              # now and then
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig
from torchrec.distributed.mc_embeddingbag import (
    ManagedCollisionEmbeddingBagCollectionSharder,
)
from torchrec.modules.mc_embedding_modules import ManagedCollisionEmbeddingBagCollection
from torchrec.modules.mc_modules import ManagedCollisionCollection

from embedding.argument_checks import check_table_name, check_time, tables_by_name
from embedding.store import Admission, Table
from embedding.torchrec.ids import CollisionFreeIds
from embedding.torchrec.sharded_collection import ShardedCollisionFreeEmbeddingBagCollection
from embedding.torchrec.wrapped import FUSED, ROW_WISE, check_collection, check_optimizers, check_plan, initial_scale
from recsys.errors import InvalidValueError


class CollisionFreeEmbeddingBagCollection(ManagedCollisionEmbeddingBagCollection):  # type: ignore[misc]
    """`collection` with an id table in front of each of its tables.

    `num_embeddings` of a table is its capacity, of which each process has an equal part: when that is full, expired ids
    go first, then by eviction priority. `ttl` (ms of event time) is one for all tables or given by table name.
    `buckets` is fixed for the life of a checkpoint: a divisor of every `num_embeddings` and a multiple of every number
    of processes that will train it; choose at least 16 times the largest such number where tables are large enough, and
    1 where it never will be more than one process. Rows of new ids begin between -`init_scale` and `init_scale`, by
    default in the collection's own range. The forward pass returns what the collection returned; with `return_rows`,
    also the rows (a KeyedJaggedTensor, -1 for ids without one). `tables` gives the settings by table name instead.
    Raises InvalidValueError for invalid settings, such as a number of rows that the buckets do not divide, and for
    weights or an `init_fn` that would be ignored.

    >>> from torchrec import KeyedJaggedTensor
    >>> from embedding.torchrec.processes.ranks import Ranks
    >>> from embedding.torchrec.sharded_store.sharded_model import shard
    >>> film = EmbeddingBagConfig(name="film", embedding_dim=4, num_embeddings=64, feature_names=["film"])
    >>> model = nn.Sequential(CollisionFreeEmbeddingBagCollection(EmbeddingBagCollection(tables=[film])))
    >>> model = shard(model, Ranks(None, torch.device("cpu")).group, torch.device("cpu"))  # or DistributedModelParallel
    >>> set_time(model, 0)
    >>> pooled = model(KeyedJaggedTensor(["film"], torch.tensor([7, -1, 7]), lengths=torch.tensor([2, 1])))
    >>> tuple(pooled.values().shape), counters(model, "film")["live"]
    ((2, 4), 2)
    """

    def __init__(
        self,
        collection: EmbeddingBagCollection,
        ttl: int | Mapping[str, int] | None = None,
        admission: Admission | None = None,
        buckets: int = 8,
        seed: int = 0,
        init_scale: float | None = None,
        return_rows: bool = False,
        tables: Mapping[str, Table] | None = None,
    ) -> None:
        check_collection(collection)
        configs = collection.embedding_bag_configs()
        names = [config.name for config in configs]
        unknown = [name for name in (ttl if isinstance(ttl, Mapping) else ()) if name not in names]
        if unknown:
            raise InvalidValueError(f"ttl: unknown tables {', '.join(unknown)}, the collection has {', '.join(names)}")
        self.seed, self.tables = seed, _settings(tables, names)
        for config in [] if tables else configs:
            own_ttl = ttl.get(config.name) if isinstance(ttl, Mapping) else ttl
            rule = admission or Admission()
            size = (config.embedding_dim, config.num_embeddings)
            scale = initial_scale(collection, config) if init_scale is None else init_scale
            self.tables[config.name] = Table(config.name, *size, admission=rule, ttl=own_ttl, init_scale=scale)
        if not tables:  # a store has checked its own
            tables_by_name(self.tables.values())
        nowhere = torch.device("cpu")
        ids = {
            config.name: CollisionFreeIds(self.tables[config.name], config.num_embeddings, buckets, seed, nowhere)
            for config in configs
        }
        managed = ManagedCollisionCollection(
            ids, configs, need_preprocess=False
        )  # `input_dist` does it for all at once
        super().__init__(collection, managed, return_remapped_features=return_rows)

    # the interface of EmbeddingBagCollection

    def embedding_bag_configs(self) -> list[EmbeddingBagConfig]:
        configs: list[EmbeddingBagConfig] = self._embedding_module.embedding_bag_configs()
        return configs

    def is_weighted(self) -> bool:
        return bool(self._embedding_module.is_weighted())


def _settings(tables: Mapping[str, Table] | None, names: list[str]) -> dict[str, Table]:
    """The settings that were given, one for each table or none. Raises InvalidValueError for others."""
    if tables and not (isinstance(tables, Mapping) and all(isinstance(tables.get(name), Table) for name in names)):
        raise InvalidValueError(f"tables is {tables!r:.80}, write a Table for each of {', '.join(names)}, by name")
    return dict(tables or {})


class CollisionFreeSharder(ManagedCollisionEmbeddingBagCollectionSharder):  # type: ignore[misc]
    """Shards `CollisionFreeEmbeddingBagCollection` row-wise, on CPU and GPU.

    >>> CollisionFreeSharder().sharding_types("cpu")
    ['row_wise']
    """

    def shard(
        self,
        module: CollisionFreeEmbeddingBagCollection,
        params: Any,
        env: Any,
        device: torch.device | None = None,
        module_fqn: str | None = None,  # noqa: ARG002
    ) -> ShardedCollisionFreeEmbeddingBagCollection:
        check_plan(params)
        check_optimizers(module._embedding_module, device or torch.device("cpu"))
        return ShardedCollisionFreeEmbeddingBagCollection(
            module,
            module.tables,
            module.seed,
            params,
            ebc_sharder=self._e_sharder,
            mc_sharder=self._mc_sharder,
            env=env,
            device=device or torch.device("cpu"),
        )

    def sharding_types(self, compute_device_type: str) -> list[str]:  # noqa: ARG002
        return [ROW_WISE]

    def compute_kernels(self, sharding_type: str, compute_device_type: str) -> list[str]:  # noqa: ARG002
        return [FUSED]  # others keep rows where they cannot be reset

    @property
    def module_type(self) -> type[CollisionFreeEmbeddingBagCollection]:
        return CollisionFreeEmbeddingBagCollection


def collections(model: nn.Module) -> list[ShardedCollisionFreeEmbeddingBagCollection]:
    """The sharded collections of a model.

    Raises InvalidValueError for anything but a model, if it has none, or two with a table of one name, whose counters
    could not be told apart.
    """
    if not isinstance(model, nn.Module):
        raise InvalidValueError(f"the model is {model!r:.80}, write what DistributedModelParallel(...) returned")
    found = [module for module in model.modules() if isinstance(module, ShardedCollisionFreeEmbeddingBagCollection)]
    if not found:
        raise InvalidValueError(
            "the model has no sharded collision-free collection: call this after "
            "model = DistributedModelParallel(model, sharders=[CollisionFreeSharder()])"
        )
    names = Counter(name for collection in found for name in collection.ids)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise InvalidValueError(f"two collections have a table {twice[0]!r}: give each table of a model its own name")
    return found


def set_time(model: nn.Module, now: int) -> None:
    """Set the event time (ms) of the next steps, the same in all processes.

    Raises InvalidValueError for a time before 1970, and for a model that is not sharded yet.
    """
    check_time(now)
    for collection in collections(model):
        for ids in collection.ids.values():
            ids.now = now


def expire(model: nn.Module, now: int) -> int:
    """Drop ids of this process not seen within their time to live; call it between steps. Returns their number.

    Raises InvalidValueError for a time before 1970.
    """
    check_time(now)
    return sum(ids.expire(now) for collection in collections(model) for ids in collection.ids.values())


def counters(model: nn.Module, table: str) -> dict[str, int]:
    """live, admitted, unadmitted, refused, expired, evicted, ... of a table in this process.

    Raises InvalidValueError for a table that no collection of the model has.
    """
    ids = {name: own for collection in collections(model) for name, own in collection.ids.items()}
    check_table_name(ids, table)
    return ids[table].bound().counters()
