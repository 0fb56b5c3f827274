"""Ranking models by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from recsys.models.autoint import AutoInt
from recsys.models.base import RankingModel
from recsys.models.fm import FactorizationMachine

REGISTRY: dict[str, type[RankingModel]] = {"autoint": AutoInt, "fm": FactorizationMachine}


def build(name: str, config: Any = None, *, n_sparse: int, n_numeric: int, dim: int, seed: int = 0) -> RankingModel:
    """A new model. Its initial weights depend on the arguments alone, not on torch's global random state.

    `config` is the model's `Config`, its defaults if None. ValueError for an unknown name or a wrong `config`.
    """
    if name not in REGISTRY:
        raise ValueError(f"unknown model {name!r}: choose one of {', '.join(sorted(REGISTRY))}")
    model: Callable[..., RankingModel] = REGISTRY[name]
    expected = REGISTRY[name].Config
    if config is None:
        config = expected()
    if not isinstance(config, expected):
        raise ValueError(f"model {name!r} takes {expected.__qualname__}, got {type(config).__qualname__}")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return model(config, n_sparse, n_numeric, dim)


__all__ = ["REGISTRY", "AutoInt", "FactorizationMachine", "RankingModel", "build"]
