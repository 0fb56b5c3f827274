"""The collection that a user wraps: what is taken over from it, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig
from torchrec.distributed.embedding_types import EmbeddingComputeKernel
from torchrec.distributed.types import ParameterSharding, ShardingType
from torchrec.modules.embedding_configs import DataType

from recsys.errors import InvalidValueError

_ON_CPU = ("SGD", "Adagrad", "RowWiseAdagrad")
ROW_WISE, FUSED = ShardingType.ROW_WISE.value, EmbeddingComputeKernel.FUSED.value
_FRESH = 2
"""PyTorch's count of changes to weights that TorchRec has just made: those of `EmbeddingBag`, then its own."""


def check_collection(collection: object) -> None:
    """Raises InvalidValueError for what is not an `EmbeddingBagCollection` of FP32 or FP16 rows."""
    if not isinstance(collection, EmbeddingBagCollection):
        raise InvalidValueError(
            f"{type(collection).__name__} cannot be made collision-free, only an EmbeddingBagCollection can: "
            "CollisionFreeEmbeddingCollection takes an EmbeddingCollection, both before DistributedModelParallel"
        )
    for config in collection.embedding_bag_configs():
        for what in ("embedding_dim", "num_embeddings"):
            number = getattr(config, what)
            if type(number) is not int:  # TorchRec's sharding takes no others
                raise InvalidValueError(f"table {config.name!r}: {what} is {number!r}, write a Python int, int(...)")
        if config.data_type not in (DataType.FP32, DataType.FP16):
            raise InvalidValueError(
                f"table {config.name!r}: rows are {config.data_type.name}, training takes FP32 or FP16"
            )


def check_optimizers(collection: EmbeddingBagCollection, device: torch.device) -> None:
    """Raises InvalidValueError for a fused optimizer that FBGEMM's kernels of the device do not have."""
    for name, weight in collection.named_parameters():
        for kind in getattr(weight, "_optimizer_classes", []) if device.type == "cpu" else []:
            if kind.__name__ not in _ON_CPU:
                raise InvalidValueError(
                    f"{name}: FBGEMM's CPU kernels have no {kind.__name__}, choose {', '.join(_ON_CPU)}"
                )


def check_plan(params: Mapping[str, ParameterSharding]) -> None:
    """Raises InvalidValueError for a table that is not row-wise in fused kernels, where rows can be reset."""
    for name, param in params.items():
        if (param.sharding_type, param.compute_kernel) != (ROW_WISE, FUSED):
            raise InvalidValueError(
                f"table {name!r}: the plan has {param.sharding_type} in {param.compute_kernel} kernels, write "
                f"{ROW_WISE} in {FUSED} ones or leave the plan out: rows elsewhere could not be reset"
            )


def initial_scale(collection: EmbeddingBagCollection, config: EmbeddingBagConfig) -> float:
    """The collection's rows begin between minus this and this.

    Raises InvalidValueError for an `init_fn`, a range that is not around 0, or weights that were changed since: rows
    are given to ids as they come, and weights would be lost.
    """
    low, high = config.get_weight_init_min(), config.get_weight_init_max()
    fn = config.init_fn
    uniform = isinstance(fn, partial) and fn.func is torch.nn.init.uniform_
    if not uniform or low != -high or not high > 0:
        raise InvalidValueError(
            f"table {config.name!r}: rows of new ids begin between -x and x, not by an init_fn or in another range: "
            "leave init_fn out or give init_scale=x"
        )
    weights = collection.embedding_bags[config.name].weight
    if weights.device.type != "meta" and (weights._version > _FRESH or float(weights.detach().abs().max()) > high):
        raise InvalidValueError(
            f"table {config.name!r}: its weights were trained or loaded, and would be lost, as rows are given to ids "
            'that come: make the collection anew, with device="meta", or give init_scale=x to begin without them'
        )
    return float(high)
