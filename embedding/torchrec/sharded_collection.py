"""The collection inside `DistributedModelParallel`: ids become rows in the process that owns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torchrec import KeyedJaggedTensor
from torchrec.distributed.embedding_types import KJTList
from torchrec.distributed.mc_embeddingbag import ShardedManagedCollisionEmbeddingBagCollection
from torchrec.modules.mc_embedding_modules import ManagedCollisionEmbeddingBagCollection

from embedding.store import RowNumbers, Table
from embedding.torchrec.checkpoints.resharding import move_to_owners
from embedding.torchrec.ids import CollisionFreeIds
from embedding.torchrec.jagged_ids import as_ids
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.processes.routing import scatter
from embedding.torchrec.rows.fbgemm_rows import FbgemmRows
from embedding.torchrec.rows.resolved_rows import ResolvedRows, TableRows
from embedding.torchrec.rows.sharded_lookup import ShardedLookup
from recsys.errors import InvalidValueError


class ShardedCollisionFreeEmbeddingBagCollection(ShardedManagedCollisionEmbeddingBagCollection):  # type: ignore[misc]
    """The collection inside `DistributedModelParallel`: rows are in FBGEMM's fused kernels, sharded row-wise.

    >>> from torch import nn
    >>> from torchrec import EmbeddingBagCollection, EmbeddingBagConfig
    >>> from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection, set_time
    >>> from embedding.torchrec.processes.ranks import Ranks
    >>> from embedding.torchrec.sharded_store.sharded_model import shard
    >>> film = EmbeddingBagConfig(name="film", embedding_dim=4, num_embeddings=64, feature_names=["film"])
    >>> model = nn.Sequential(CollisionFreeEmbeddingBagCollection(EmbeddingBagCollection(tables=[film])))
    >>> model = shard(model, Ranks(None, torch.device("cpu")).group, torch.device("cpu"))  # or DistributedModelParallel
    >>> set_time(model, 0)
    >>> pooled = model(KeyedJaggedTensor(["film"], torch.tensor([7, -1, 7]), lengths=torch.tensor([2, 1])))
    >>> int(model.module[0].ids["film"].open_slots())
    62
    """

    def __init__(
        self,
        module: ManagedCollisionEmbeddingBagCollection,
        tables: Mapping[str, Table],
        seed: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, **kwargs)
        self._tables, self._seed, self._env = tables, seed, kwargs["env"]
        self.configs = list(module._embedding_module.embedding_bag_configs())
        self._weighted = bool(module._embedding_module.is_weighted())
        self.found: list[ResolvedRows] = []
        """The rows of the last call's ids in this process."""
        self._wanted = [name for config in self.configs for name in config.feature_names]
        self._order: list[str] = []
        self.register_load_state_dict_pre_hook(_check_rows)
        self.clear()

    @property
    def ids(self) -> dict[str, CollisionFreeIds]:
        """The id tables of this process, by table name."""
        return dict(self._managed_collision_collection._managed_collision_modules.items())

    @property
    def process_group(self) -> dist.ProcessGroup:
        """The processes that have the rows between them."""
        group: dist.ProcessGroup = self._env.process_group
        return group

    def is_weighted(self) -> bool:
        """Whether ids have weights in their bags."""
        return self._weighted

    def clear(self) -> None:
        """Drop all ids."""
        for name, ids in self.ids.items():
            kernel, position = self._table_to_tbe_and_index[name]
            weights = kernel.split_embedding_weights()[int(position)]
            split = kernel.split_optimizer_states()  # empty for SGD, which keeps nothing
            states = split[int(position)] if split else ()
            ids.bind(FbgemmRows(weights, states, self._tables[name], self._seed))

    def return_rows(self, yes: bool) -> None:
        """Set whether calls return the rows too."""
        self._return_remapped_features = yes

    @torch.compiler.disable  # Numba, and counters that a compiler takes for constants
    def forward(self, *features: Any, **named: Any) -> Any:
        return super().forward(*features, **named)

    def input_dist(self, ctx: Any, features: KeyedJaggedTensor) -> Any:
        """Send ids to the processes that own them.

        Raises InvalidValueError for missing features, or for features in another order than in
        the first call, which TorchRec relies on.
        """
        self._check(features)
        self._settle()
        return super().input_dist(ctx, _scattered(features))

    def _settle(self) -> None:
        """After a checkpoint was loaded, bring ids to the processes that own them. Collective."""
        for ids in self.ids.values():
            if ids.loaded:
                move_to_owners(ids, Ranks(self.process_group, self._device))
                ids.loaded = False

    def _check(self, features: KeyedJaggedTensor) -> None:
        keys = features.keys()
        if keys == self._order:
            return
        missing = [name for name in self._wanted if name not in keys]
        if missing:
            raise InvalidValueError(f"features {', '.join(missing)} are missing, the batch has {', '.join(keys)}")
        if self._order:
            raise InvalidValueError(
                f"features are {', '.join(keys)}, in the first batch they were {', '.join(self._order)}"
            )
        self._order = list(keys)

    def compute(self, ctx: Any, dist_input: KJTList) -> list[torch.Tensor]:
        """In the owning process: ids to rows, rows to pooled embeddings."""
        managed = self._managed_collision_collection
        found = []
        for features, part, names, widths in zip(
            dist_input,
            ctx.sharding_contexts,
            managed._sharding_tables,
            managed._sharding_per_table_feature_splits,
            strict=True,
        ):
            if not features.variable_stride_per_key():
                part.lengths_after_input_dist = features.lengths().view(len(features.keys()), features.stride())
            found.append(self._found(features, names, widths))
        self.found = found
        lookup = ShardedLookup(self._embedding_module, ctx, list(dist_input), found)
        if self._return_remapped_features:
            ctx.remapped_kjt = lookup.rows()
        return lookup.outputs()

    def read_owned(self, table: str, features: KeyedJaggedTensor) -> tuple[torch.Tensor, RowNumbers]:
        """Pooled rows of ids that this process owns, without an exchange, and their numbers (-1: none).

        For a collection of this one table with one feature.
        """
        features = _scattered(features)
        found = self._found(features, [table], [1])
        (output,) = ShardedLookup(self._embedding_module, self.create_context(), [features], [found]).outputs()
        return output, found.rows_N + found.pieces[0].begin

    def _found(self, features: KeyedJaggedTensor, names: Sequence[str], widths: Sequence[int]) -> ResolvedRows:
        """The rows of all tables' features, which are concatenated."""
        mixed_N, tables = as_ids(features.values()), self._managed_collision_collection._managed_collision_modules
        ends = features.offset_per_key() if len(names) > 1 else [0] * widths[0] + [len(mixed_N)]  # the former is slow
        pieces: list[TableRows] = []
        key = 0
        for name, width in zip(names, widths, strict=True):
            pieces.append(tables[name].find(mixed_N[ends[key] : ends[key + width]], ends[key]))
            key += width
        return ResolvedRows(pieces, len(mixed_N))

    def output_dist(self, ctx: Any, output: list[torch.Tensor]) -> Any:
        """Send embeddings back to the processes that asked."""
        embedded, rows = super().output_dist(ctx, output)
        return (embedded, rows) if self._return_remapped_features else embedded


def _check_rows(module: Any, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Refuse a checkpoint of another number of rows before anything is loaded."""
    for name, ids in module.ids.items():
        found = state.get(f"{prefix}_managed_collision_collection._managed_collision_modules.{name}.ids")
        if isinstance(found, ShardedTensor):
            ids.check_rows(found.metadata().size[0])


def _scattered(features: KeyedJaggedTensor) -> KeyedJaggedTensor:
    mixed = torch.from_numpy(scatter(as_ids(features.values())).view("int64")).to(features.values().device)
    return KeyedJaggedTensor(
        features.keys(),
        mixed,
        features.weights_or_none(),
        features.lengths_or_none(),
        features.offsets_or_none(),
        stride_per_key_per_rank=features._stride_per_key_per_rank,
        length_per_key=features.length_per_key_or_none(),
        offset_per_key=features.offset_per_key_or_none(),
        inverse_indices=features.inverse_indices_or_none(),
    )
