"""A small TorchRec model with collision-free ids, sharded over whatever processes there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward  # type: ignore[attr-defined]
from torchrec import (
    EmbeddingBagCollection,
    EmbeddingBagConfig,
    EmbeddingCollection,
    EmbeddingConfig,
    KeyedJaggedTensor,
    PoolingType,
)
from torchrec.modules.embedding_configs import DataType
from torchrec.optim import RowWiseAdagrad

from embedding.hashing import initial_rows, salt_of
from embedding.store import Floats
from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sequences import CollisionFreeEmbeddingCollection
from embedding.torchrec.sharded_store.sharded_model import shard

CPU = torch.device("cpu")
LR, DIM, SCALE = 0.5, 4, 0.01


class Sparse(nn.Module):
    def __init__(self, sparse: nn.Module) -> None:
        super().__init__()
        self.sparse = sparse

    def forward(self, ids: KeyedJaggedTensor) -> Any:
        return self.sparse(ids)


class Histories(nn.Module):
    """The rows of feature t."""

    def __init__(self, histories: nn.Module) -> None:
        super().__init__()
        self.histories = histories

    def forward(self, ids: KeyedJaggedTensor) -> Any:
        return self.histories(ids)["t"]


def sequences(optimizer: type[torch.optim.Optimizer], rows: int) -> EmbeddingCollection:
    """TorchRec's own of table t."""
    table = EmbeddingConfig(name="t", embedding_dim=DIM, num_embeddings=rows, feature_names=["t"])
    plain = EmbeddingCollection(tables=[table], device=torch.device("meta"))
    _apply_optimizer_in_backward(optimizer, plain.parameters(), {"lr": LR})
    return plain


def histories(rows: int, optimizer: type[torch.optim.Optimizer] = RowWiseAdagrad, **arguments: Any) -> Any:
    """The sharded model."""
    ours = CollisionFreeEmbeddingCollection(sequences(optimizer, rows), **{"init_scale": SCALE} | arguments)
    return shard(Histories(ours), Ranks(None, CPU).group, CPU)


def collection(
    rows: Mapping[str, int],
    pooling: PoolingType = PoolingType.SUM,
    weighted: bool = False,
    data_type: DataType = DataType.FP32,
    optimizer: type[torch.optim.Optimizer] = RowWiseAdagrad,
    **arguments: Any,
) -> CollisionFreeEmbeddingBagCollection:
    """Tables by name, each with a feature for every letter of it."""
    alike = {"pooling": pooling, "data_type": data_type}
    tables = [
        EmbeddingBagConfig(name=name, embedding_dim=DIM, num_embeddings=n, feature_names=list(name), **alike)
        for name, n in rows.items()
    ]
    plain = EmbeddingBagCollection(tables=tables, device=torch.device("meta"), is_weighted=weighted)
    _apply_optimizer_in_backward(optimizer, plain.parameters(), {"lr": LR})
    return CollisionFreeEmbeddingBagCollection(plain, **{"init_scale": SCALE} | arguments)


def model(rows: Mapping[str, int], pooling: PoolingType = PoolingType.SUM, **arguments: Any) -> Any:
    """The sharded model."""
    return shard(Sparse(collection(rows, pooling, **arguments)), Ranks(None, CPU).group, CPU)


def bags(**features: list[list[int]]) -> KeyedJaggedTensor:
    """Features with their bags of ids (unsigned 64 bits)."""
    values = [key for feature in features.values() for bag in feature for key in bag]
    lengths = [len(bag) for feature in features.values() for bag in feature]
    ids = torch.from_numpy(np.array(values, np.uint64).view(np.int64))
    return KeyedJaggedTensor(list(features), ids, lengths=torch.tensor(lengths, dtype=torch.int32))


def read(sharded: Any, *ids: int) -> Floats:
    """Rows of table t, one a bag, without a trace."""
    sharded.eval()
    with torch.no_grad():
        values: Floats = sharded(bags(t=[[key] for key in ids])).values().numpy()
    sharded.train()
    return values


def fresh(*ids: int, table: str = "t") -> Floats:
    """What new rows hold."""
    return initial_rows(np.array(ids, np.uint64), DIM, salt_of(0, table), SCALE)
