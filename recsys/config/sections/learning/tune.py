"""The section of `recsys tune`: which settings are tried, and how often."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from recsys.config.sections.learning.models import SECTIONS
from recsys.config.sections.section import Count, Section, error_at

LEARNING = ("averaging", "batch_size", "dense_lr", "init_scale", "l2", "max_norm", "optimizer", "sparse_lr")
"""Settings of `training` that change how rows are learned, not which."""
OTHERS = ("features.dim", "fit.schedule")


class Range(Section):
    """Numbers from `low` to `high`, both included: whole ones if both are."""

    low: int | float
    high: int | float
    log: bool = False
    """Whether equal factors are equally likely, as suits learning rates."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise error_at(("high",), f"must be above low = {self.low}")
        if self.log and self.low <= 0:
            raise error_at(("low",), "must be above 0 with log = true")
        return self


Choices = Annotated[list[Any], Field(min_length=2)]


class TuneSection(Section):
    """A search for settings of training and model; parts, epochs and metric are those of `recsys fit`."""

    trials: Count = 20
    """For each model."""
    workers: Count = 1
    """Processes, started by Ray on this machine, that fit a trial each."""
    models: list[str] = []
    """Empty: the configured one alone."""
    settings: dict[str, Range | Choices] = {
        "training.dense_lr": Range(low=1e-4, high=1e-2, log=True),
        "training.sparse_lr": Range(low=5e-3, high=0.5, log=True),
        "training.init_scale": Range(low=3e-3, high=0.3, log=True),
        "training.batch_size": [64, 256, 1024],
    }
    """By name, such as `model.layers`: those of models are tried with each model that has them."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for number, name in enumerate(self.models):
            if name not in SECTIONS:
                raise error_at(("models", number), f"unknown model {name!r}; choose from {', '.join(SECTIONS)}")
            if name in self.models[:number]:
                raise error_at(("models", number), f"duplicate model {name!r}")
        for name in self.settings:
            if not _tunable(name):
                allowed = [f"training.{key}" for key in LEARNING] + [*OTHERS, "model.OPTION"]
                raise error_at(("settings", name), f"cannot be tuned; choose from {', '.join(allowed)}")
        return self


def _tunable(name: str) -> bool:
    section, _, key = name.partition(".")
    if section == "model":
        return key != "name" and any(key in options.model_fields for options in SECTIONS.values())
    return name in OTHERS or (section == "training" and key in LEARNING)
