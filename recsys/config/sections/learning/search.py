"""The sections of `recsys search`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.config.sections.learning.models import Sizes
from recsys.config.sections.section import Count, Positive, Section

Share = Annotated[float, Field(gt=0, le=1)]
DnisControl = Literal["magnitude", "random", "uniform", "mde", "tables"]


class DnisSection(Section):
    """Differentiable Neural Input Search; parts, model, batch size and seed are those of `recsys fit`."""

    blocks: Count = 10
    """Frequency blocks with nearly equal numbers of ids, each with a factor for every coordinate."""
    epochs: Count = 20
    """Of the warm start, and of models that are trained from the beginning."""
    search_epochs: Count = 50
    retrain_epochs: Count = 2
    """After pruning."""
    lr: Positive = 0.001
    """Of Adam, for all weights."""
    alpha_lr: Positive = 0.01
    """Of the factors."""
    l1: Annotated[float, Field(ge=0)] = 1e-5
    """Weight of the sum of the factors in the validation loss."""
    shares: Annotated[list[Share], Field(min_length=1)] = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01]
    """Sizes that are compared, as shares of all embedding values."""
    controls: list[DnisControl] = ["magnitude", "random", "uniform", "mde", "tables"]
    """What is compared with the search at each size."""


class IhasSection(Section):
    """Instance-wise hierarchical architecture search; parts, model, batch size and seed are those of `recsys fit`."""

    groups: Annotated[list[Count], Field(min_length=1)] = [1, 2, 3, 4]
    """Numbers of groups of rows that are compared; 1 is a mask for all rows."""
    gates: Sizes = (64,)
    """Hidden sizes of the network that opens the gates."""
    sparsity: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the mean probability of a gate to be open."""
    polarization: Annotated[float, Field(ge=0)] = 0.02
    """Weight of the mean of pi (1 - pi), which makes gates certain."""
    epochs: Count = 20
    """At most, of the search and of each model."""
    lr: Positive = 0.001
    """Of Adam, for rows and predictor."""
    gate_lr: Positive = 0.01
    """Of Adam, for the gates: they must close before the rows are learned by heart."""
