"""What a first model learns by: model, steps and first rows, as docs/train.md has measured them."""

from __future__ import annotations

from typing import Final

from recsys.config.sections.learning.training import TrainingSection
from recsys.proposal.mappings.mapping import Noted
from recsys.proposal.step_size import step_size

_MANY: Final = 16
"""Columns. The logs that were measured have up to 7, and 20 and more (docs/train.md)."""


def first_model() -> dict[str, Noted]:
    """The settings of `[model]`."""
    return {"name": Noted("fm", "with its perceptron: finds pairs sooner than the default, autoint (docs/train.md)")}


def small_steps(about: float, columns: int) -> dict[str, Noted]:
    """Settings of `[training]` for about so many shown items with so many features beside their ids.

    None where there are enough for the default's steps.
    """
    size = step_size(round(about))
    if size == TrainingSection().batch_size:
        return {}
    few = f"for some {float(f'{about:.2g}'):,.0f} shown items: delete this line when there are many more"
    settings = {
        "batch_size": Noted(size, few),
        "init_scale": Noted(0.1, "likewise: pairs are found sooner from rows that begin apart"),
    }
    if columns > _MANY:
        settings["sparse_lr"] = Noted(0.02, f"likewise: a step moves a score by all {columns} columns together")
    return settings
