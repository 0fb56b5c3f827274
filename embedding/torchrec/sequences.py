"""An `EmbeddingCollection` (a row for every id of a history, none pooled) whose ids never collide.

model.histories = CollisionFreeEmbeddingCollection(model.histories, ttl=30 * DAY)
model = DistributedModelParallel(model, sharders=[CollisionFreeSharder()])   # and so on, as in `collection`
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn
from torchrec import (
    EmbeddingBagCollection,
    EmbeddingBagConfig,
    EmbeddingCollection,
    EmbeddingConfig,
    JaggedTensor,
    KeyedJaggedTensor,
)

from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_collection import ShardedCollisionFreeEmbeddingBagCollection
from recsys.errors import InvalidValueError


class CollisionFreeEmbeddingCollection(nn.Module):
    """`collection` with an id table in front of each of its tables; `options` as of the bag collection.

    The rows of an id without one are zeros, and learn nothing. Inside, each id is a bag of one, because FBGEMM's CPU
    kernels train bags many times faster than sequences; the features of a table are read together.
    Raises InvalidValueError as `CollisionFreeEmbeddingBagCollection`.

    >>> from embedding.torchrec.collection import counters, set_time
    >>> from embedding.torchrec.sharded_store.sharded_model import shard
    >>> film = EmbeddingConfig(name="film", embedding_dim=4, num_embeddings=64, feature_names=["watched", "shown"])
    >>> model = nn.Sequential(CollisionFreeEmbeddingCollection(EmbeddingCollection(tables=[film])))
    >>> model = shard(model, Ranks(None, torch.device("cpu")).group, torch.device("cpu"))  # or DistributedModelParallel
    >>> set_time(model, 0)
    >>> ids = torch.tensor([7, -1, 7])
    >>> rows = model(KeyedJaggedTensor(["watched", "shown"], ids, lengths=torch.tensor([2, 0, 0, 1])))
    >>> tuple(rows["watched"].values().shape), rows["watched"].lengths().tolist(), counters(model, "film")["live"]
    ((2, 4), [2, 0], 2)
    """

    def __init__(self, collection: EmbeddingCollection, **options: Any) -> None:
        if not isinstance(collection, EmbeddingCollection):
            raise InvalidValueError(
                f"{type(collection).__name__} is no EmbeddingCollection: CollisionFreeEmbeddingBagCollection takes bags"
            )
        super().__init__()
        self._configs: list[EmbeddingConfig] = collection.embedding_configs()
        self._need_indices: bool = collection.need_indices()
        times = Counter(name for config in self._configs for name in config.feature_names)
        self._names = [
            [name if times[name] == 1 else f"{name}@{config.name}" for name in config.feature_names]
            for config in self._configs
        ]
        self.bags = CollisionFreeEmbeddingBagCollection(_bags(collection), **options)

    def embedding_configs(self) -> list[EmbeddingConfig]:
        return self._configs

    def need_indices(self) -> bool:
        return self._need_indices

    def forward(self, features: KeyedJaggedTensor) -> dict[str, JaggedTensor]:
        """The rows [N, D] of each feature, as jagged as its N ids. Collective over the processes of the model."""
        missing = sorted({name for config in self._configs for name in config.feature_names} - set(features.keys()))
        if missing:
            raise InvalidValueError(
                f"features {', '.join(missing)} are missing, the batch has {', '.join(features.keys())}"
            )
        asked = [[features[name] for name in config.feature_names] for config in self._configs]
        read = self.bags(self._as_bags([torch.cat([part.values() for part in parts]) for parts in asked]))
        found: dict[str, JaggedTensor] = {}
        for config, names, parts in zip(self._configs, self._names, asked, strict=True):
            begin = 0
            for name, part in zip(names, parts, strict=True):
                ids = part.values()
                rows, begin = read[config.name][begin : begin + len(ids)], begin + len(ids)
                found[name] = JaggedTensor(rows, lengths=part.lengths(), weights=ids if self._need_indices else None)
        return found

    def _as_bags(self, values: list[torch.Tensor]) -> KeyedJaggedTensor:
        """A feature a table, of bags of one; empty ones fill up to the most that any table and process has."""
        most = max(1, *(len(ids) for ids in values))
        if isinstance(self.bags, ShardedCollisionFreeEmbeddingBagCollection):
            most = Ranks(self.bags.process_group, torch.device("cpu")).largest(most)
        lengths = torch.zeros(len(values), most, dtype=torch.int32)
        for row, ids in zip(lengths, values, strict=True):
            row[: len(ids)] = 1
        names = [config.name for config in self._configs]
        return KeyedJaggedTensor(names, torch.cat(values), lengths=lengths.view(-1).to(values[0].device))


def _bags(collection: EmbeddingCollection) -> EmbeddingBagCollection:
    """A collection of bags with the same parameters, and so with their optimizer; a feature for each table."""
    shared = ("name", "embedding_dim", "num_embeddings", "data_type", "init_fn", "weight_init_min", "weight_init_max")
    tables = [
        EmbeddingBagConfig(feature_names=[config.name], **{what: getattr(config, what) for what in shared})
        for config in collection.embedding_configs()
    ]
    bags = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
    for config in tables:
        bags.embedding_bags[config.name].weight = collection.embeddings[config.name].weight
    return bags
