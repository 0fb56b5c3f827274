"""The section of `recsys fit`: training in epochs over a part of the log."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recsys.config.sections.section import Count, Section, error_at

Share = Annotated[float, Field(gt=0, lt=1)]


class FitSection(Section):
    """Parts of the log, and when training in epochs ends; everything else is as `training` says."""

    split: Literal["time", "random"] = "time"
    """By the time of the impression: training, validation, test in this order; or by a hash of the impression."""
    validation: Share = 0.1
    """The share of the shown items that decides when to stop, and which epoch was best."""
    test: Share = 0.1
    """The share that no decision depends on, and that `recsys evaluate` scores."""
    epochs: Count = 20
    """At most so many."""
    patience: Count = 2
    """It ends after so many epochs without a better figure of the validation part."""
    metric: Literal["log_loss", "auc"] = "log_loss"
    """The figure: of the first task."""
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    """Of the learning rates, set before each epoch: cosine falls to 0 over `epochs` (Loshchilov and Hutter 2017),
    plateau halves them after an epoch that was no better than those before."""

    @model_validator(mode="after")
    def _trains(self) -> Self:
        if self.validation + self.test >= 1:
            raise error_at(
                ("test",), f"with validation = {self.validation} nothing is left to train on: lower one of them"
            )
        return self
