"""What a fit and an evaluation come to, as plain data: the same bytes for the same result."""

from __future__ import annotations

from typing import Any

import msgspec

from recsys.evaluation.result_file import ResultFile

Figures = dict[str, float | int | None]
"""A `Summary`: rows, weight, positives, auc, log_loss, calibration, normalised_entropy."""


class Epoch(msgspec.Struct, frozen=True):
    """One pass over the training part."""

    steps: int
    """Since the fit began."""
    rate: float
    """The factor of the learning rates."""
    training_log_loss: float
    """Mean over the epoch, by the forward passes that were learned from: with dropout, while weights changed."""
    validation: dict[str, Figures]
    """By task, after the epoch."""


class FitResult(ResultFile, frozen=True):
    """A fit: `rows` of each part, all epochs, and the number of the best one, from 0."""

    made_by = "recsys fit"
    rows: dict[str, int]
    epochs: list[Epoch]
    best: int
    config: dict[str, Any]


class FieldAttention(msgspec.Struct, frozen=True):
    """`weights[a][b]` is what field `a` takes from field `b`, in the mean over rows, layers and heads."""

    fields: list[str]
    weights: list[list[float]]


class Evaluation(ResultFile, frozen=True):
    """Figures of a fitted model, by task, on the part of the log that is named."""

    made_by = "recsys evaluate"
    part: str
    steps: int
    """Of the checkpoint."""
    tasks: dict[str, Figures]
    config: dict[str, Any]
    attention: FieldAttention | None = None
    """Of an autoint."""
