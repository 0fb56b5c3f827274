"""The cost of our id tables inside TorchRec: a training step on ids, against the same model with its rows given.

Both sides are `DistributedModelParallel`, row-wise sharded, in FBGEMM's fused row-wise Adagrad, over gloo; the peer is
given the row of every id and has no id table. `drop-in` is a model of four tables whose collection was made
collision-free, `store` is look-up and update of one table through `TorchRecStore`. Times are CPU time of the first
process: both sides exchange the same tensors (the store also its rows), and wait alike for the others. Alone, the store
exchanges nothing, while TorchRec's model goes through its exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._processes import together
from benchmarks.harness import Result, Target, interleave, ratio
from embedding.hashing import mix

FEATURES = ("a", "b", "c", "d")
DIM = 16
LIMIT = 1.25
Rounds = dict[str, list[float]]


def run(quick: bool) -> Result:
    """Steps of one and of two processes."""
    size = {"ids": 100_000, "steps": 4, "rounds": 7} if quick else {}
    size = {"ids": 500_000, "batch": 4096, "steps": 10, "rounds": 21} | size
    targets: list[Target] = []
    raw: dict[str, Any] = {"dim": DIM, "tables": len(FEATURES)} | size
    for world in (1, 2):
        seconds: Rounds = together(world, _member, world, size)
        raw[f"seconds_{world}"] = seconds
        for ours in ("drop-in", "store"):
            times = ratio(seconds[ours], seconds[f"{ours}, rows given"])
            targets.append(Target(f"{ours} step, {world} process(es), times rows given", times, LIMIT, better="lower"))
    return Result("torchrec_store", targets, raw)


def _member(rank: int, world: int, size: dict[str, int]) -> Rounds:
    return interleave(_drop_in(rank, world, size) | _store(rank, world, size), size["rounds"])


def _batches(rank: int, world: int, size: dict[str, int], tables: int) -> list[npt.NDArray[np.uint64]]:
    """Ids [tables, batch] of each step, zipf-like over the live ids; the first batches insert all of them."""
    rng = np.random.default_rng(rank)
    count = size["steps"]
    ranks = (size["ids"] ** rng.random((count, tables, size["batch"] // world))).astype(np.uint64)
    return [mix(each) for each in ranks]


def _drop_in(rank: int, world: int, size: dict[str, int]) -> dict[str, Callable[[], None]]:
    """A model of four tables with bags of one, on ids and on rows."""
    import torch
    from torchrec import KeyedJaggedTensor

    from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection, collections, set_time

    rows = size["ids"] * 2 // 8 * 8
    plain = _collection(FEATURES, rows)
    ours = _sharded(CollisionFreeEmbeddingBagCollection(plain, return_rows=True))
    peer = _sharded(_collection(FEATURES, rows))
    batch = size["batch"] // world
    ones = torch.ones(len(FEATURES) * batch, dtype=torch.int32)
    set_time(ours, 0)
    every = mix(np.arange(size["ids"], dtype=np.uint64)[rank::world])
    for part in np.array_split(every, max(1, len(every) // batch)):
        lengths = torch.ones(len(FEATURES) * len(part), dtype=torch.int32)
        ours(KeyedJaggedTensor(list(FEATURES), torch.from_numpy(np.tile(part, 4).view(np.int64)), lengths=lengths))
    on_ids, on_rows = [], []
    for ids in _batches(rank, world, size, len(FEATURES)):
        features = KeyedJaggedTensor(list(FEATURES), torch.from_numpy(ids.reshape(-1).view(np.int64)), lengths=ones)
        on_ids.append(features)
        found = ours(features)[1].values().clone()
        on_rows.append(KeyedJaggedTensor(list(FEATURES), found, lengths=ones))
    gradient = torch.randn(batch, len(FEATURES) * DIM) / 100
    collections(ours)[0].return_rows(False)  # a model has no use for them

    def step_on_ids() -> None:
        for features in on_ids:
            ours(features).values().backward(gradient)

    def step_on_rows() -> None:
        for features in on_rows:
            peer(features).values().backward(gradient)

    return {"drop-in": step_on_ids, "drop-in, rows given": step_on_rows}


def _store(rank: int, world: int, size: dict[str, int]) -> dict[str, Callable[[], None]]:
    """One table through the store, and the same table on rows."""
    import torch
    from torchrec import KeyedJaggedTensor

    from embedding.store import Optimizer, Table
    from embedding.torchrec.sharded_store.store import TorchRecStore

    sized = size | {"batch": size["batch"] * len(FEATURES)}
    store = TorchRecStore([Table("t", DIM, size["ids"], Optimizer(lr=0.02))])
    peer = _sharded(_collection(("t",), size["ids"] * 2 // 8 * 8))
    batches = [ids[0] for ids in _batches(rank, world, sized, 1)]
    lengths = torch.ones(len(batches[0]), dtype=torch.int32)
    store.lookup("t", mix(np.arange(size["ids"], dtype=np.uint64)[rank::world]), 0)
    rows = [KeyedJaggedTensor(["t"], torch.from_numpy(store.peek("t", ids).rows_N), lengths=lengths) for ids in batches]
    grads = np.random.default_rng(rank).standard_normal((len(batches[0]), DIM), np.float32) / np.float32(100)
    gradient = torch.from_numpy(grads)

    def step_on_ids() -> None:
        for ids in batches:
            store.update(store.lookup("t", ids, 0), grads)

    def step_on_rows() -> None:
        for features in rows:
            peer(features).values().backward(gradient)

    return {"store": step_on_ids, "store, rows given": step_on_rows}


def _collection(features: tuple[str, ...], rows: int) -> Any:
    """A table for each feature, as TorchRec users write it."""
    import torch
    from torch.distributed.optim import _apply_optimizer_in_backward  # type: ignore[attr-defined]
    from torchrec import EmbeddingBagCollection, EmbeddingBagConfig
    from torchrec.optim import RowWiseAdagrad

    tables = [
        EmbeddingBagConfig(name=name, embedding_dim=DIM, num_embeddings=rows, feature_names=[name]) for name in features
    ]
    collection = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
    _apply_optimizer_in_backward(RowWiseAdagrad, collection.parameters(), {"lr": 0.02})
    return collection


def _sharded(collection: Any) -> Any:
    """The collection in a model, row-wise over all processes."""
    import torch
    import torch.distributed as dist
    from torchrec.distributed import DistributedModelParallel
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
    from torchrec.distributed.types import ShardingPlan

    from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection, CollisionFreeSharder

    collision_free = isinstance(collection, CollisionFreeEmbeddingBagCollection)
    sharder: Any = CollisionFreeSharder() if collision_free else EmbeddingBagCollectionSharder()
    world = dist.get_world_size()
    names = (config.name for config in _configs(collection))
    plan = construct_module_sharding_plan(
        collection, {name: row_wise() for name in names}, sharder, local_size=world, world_size=world, device_type="cpu"
    )
    model = torch.nn.Sequential(collection)
    return DistributedModelParallel(
        model, device=torch.device("cpu"), plan=ShardingPlan({"0": plan}), sharders=[sharder]
    )


def _configs(collection: Any) -> Any:
    plain = getattr(collection, "_embedding_module", collection)
    return plain.embedding_bag_configs()
