"""Ranking models: dense networks over embedding rows that live in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from recsys.errors import InvalidValueError
from recsys.models.autoint import AutoInt
from recsys.models.base import RankingModel
from recsys.models.dcn import CrossNetwork
from recsys.models.finalmlp import FinalMlp
from recsys.models.fm import FactorizationMachine
from recsys.models.gated import GatedModel
from recsys.models.lr import LogisticRegression
from recsys.models.mmoe import MixtureOfExperts
from streaming.encode.feature_spec import PooledHistory

MODELS: tuple[type[RankingModel], ...] = (
    AutoInt,
    FactorizationMachine,
    LogisticRegression,
    CrossNetwork,
    FinalMlp,
    MixtureOfExperts,
    GatedModel,
)


def build(
    config: Any,
    *,
    n_sparse: int,
    n_numeric: int,
    dim: int,
    tasks: int = 1,
    seed: int = 0,
    histories: Sequence[PooledHistory] = (),
) -> RankingModel:
    """Build the model of `config`, a section of `recsys.config.sections.learning.models`.

    It pools `histories` itself.

    Its initial weights depend on the arguments alone, not on torch's global random state. Raises InvalidValueError if
    `config` belongs to no model.
    """
    model: Callable[..., RankingModel] | None = next((kind for kind in MODELS if type(config) is kind.Config), None)
    if model is None:
        known = ", ".join(kind.Config.__name__ for kind in MODELS)
        raise InvalidValueError(f"{type(config).__name__} belongs to no model; choose one of {known}")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        built = model(config, n_sparse, n_numeric, dim, tasks)
        built.pool(histories)
        return built


__all__ = [
    "MODELS",
    "AutoInt",
    "CrossNetwork",
    "FactorizationMachine",
    "FinalMlp",
    "GatedModel",
    "LogisticRegression",
    "MixtureOfExperts",
    "RankingModel",
    "build",
]
