"""A trained collection to read only: no processes, no Numba, plain tensors. For evaluation offline and for export.

evaluated = frozen(model.sparse)          # after DistributedModelParallel; ids in, pooled rows out
"""

from __future__ import annotations

import torch
from torch import nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor

from embedding.torchrec.checkpoints.saved_tables import read_table
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_collection import ShardedCollisionFreeEmbeddingBagCollection
from recsys.errors import InvalidValueError


class FrozenIndex(nn.Module):
    """Row numbers of ids [U], which are in the order of their rows; any other id has the row after the last.

    Shapes are free: ids and row numbers have the same.

    >>> index = FrozenIndex(torch.tensor([7, -1]))
    >>> index(torch.tensor([-1, 8, 7])).tolist()
    [1, 2, 0]
    """

    ids: torch.Tensor
    rows: torch.Tensor

    def __init__(self, ids: torch.Tensor) -> None:
        super().__init__()
        ordered, rows = torch.sort(ids.to(torch.int64))
        missing = torch.tensor([len(ids)])
        # One more than there are ids, so that none is past the end; if it is asked for, its row is the missing one.
        self.register_buffer("ids", torch.cat([ordered, torch.tensor([(1 << 63) - 1])]))
        self.register_buffer("rows", torch.cat([rows, missing]))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        ids = ids.to(torch.int64)
        at = torch.searchsorted(self.ids, ids)
        return torch.where(self.ids[at] == ids, self.rows[at], self.rows[-1])


class FrozenEmbeddingBagCollection(nn.Module):
    """Ids to rows by `FrozenIndex`, rows to bags by TorchRec's unsharded `EmbeddingBagCollection`.

    An unknown id reads the last row of its table, which is zeros unless you write another into
    `bags.embedding_bags[table].weight[-1]`.

    >>> film = EmbeddingBagConfig(name="film", embedding_dim=4, num_embeddings=2, feature_names=["film"])
    >>> collection = FrozenEmbeddingBagCollection([film], {"film": torch.tensor([7])}, {"film": torch.ones(1, 4)})
    >>> ids = KeyedJaggedTensor(["film"], torch.tensor([7, 7, 9]), lengths=torch.tensor([2, 1]))
    >>> collection(ids)["film"][:, 0].tolist()
    [2.0, 0.0]
    """

    def __init__(
        self,
        configs: list[EmbeddingBagConfig],
        ids: dict[str, torch.Tensor],
        weights: dict[str, torch.Tensor],
        is_weighted: bool = False,
    ) -> None:
        super().__init__()
        self.index = nn.ModuleDict({name: FrozenIndex(each) for name, each in ids.items()})
        self.bags = EmbeddingBagCollection(tables=configs, is_weighted=is_weighted)
        for name, values in weights.items():
            weight = self.bags.embedding_bags[name].weight.requires_grad_(False)
            weight.copy_(torch.cat([values, torch.zeros_like(weight[-1:])]))
        self._table = {name: config.name for config in configs for name in config.feature_names}

    def embedding_bag_configs(self) -> list[EmbeddingBagConfig]:
        configs: list[EmbeddingBagConfig] = self.bags.embedding_bag_configs()
        return configs

    def forward(self, features: KeyedJaggedTensor) -> KeyedTensor:
        jagged = features.to_dict()
        rows = [self.index[table](jagged[name].values()) for name, table in self._table.items()]
        return self.bags(_with_rows(features, list(self._table), rows))


@torch.fx.wrap
def _with_rows(features: KeyedJaggedTensor, names: list[str], rows: list[torch.Tensor]) -> KeyedJaggedTensor:
    parts = [features[name] for name in names]
    weights = torch.cat([part.weights() for part in parts]) if features.weights_or_none() is not None else None
    lengths = torch.cat([part.lengths() for part in parts])
    return KeyedJaggedTensor(names, torch.cat(rows), weights=weights, lengths=lengths)


def frozen(collection: ShardedCollisionFreeEmbeddingBagCollection) -> FrozenEmbeddingBagCollection:
    """The collection as it is now, with the rows of all processes on this one's CPU. Collective.

    Raises InvalidValueError for anything but a sharded collection, such as the whole model.
    """
    if not isinstance(collection, ShardedCollisionFreeEmbeddingBagCollection):
        raise InvalidValueError(
            f"{type(collection).__name__} is no sharded collection: write frozen(collections(model)[0])"
        )
    ranks, state = Ranks(collection.process_group, torch.device("cpu")), collection.state_dict()
    configs, ids, weights = [], {}, {}
    for config in collection.configs:
        saved = read_table(config.name, None, state, {}, ranks).of_all(ranks)
        ids[config.name] = torch.from_numpy(saved.ids_U.view("int64"))
        weights[config.name] = saved.rows["weight"]
        own = {"num_embeddings": len(saved.ids_U) + 1, "feature_names": config.feature_names}
        shape = {what: getattr(config, what) for what in ("name", "embedding_dim", "pooling", "data_type")}
        configs.append(EmbeddingBagConfig(**own, **shape))
    return FrozenEmbeddingBagCollection(configs, ids, weights, collection.is_weighted())
