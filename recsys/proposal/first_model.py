"""What a first model learns by: model, steps and first rows, as docs/train.md has measured them."""

from __future__ import annotations

from recsys.config.sections.learning.training import TrainingSection
from recsys.proposal.mappings.mapping import Noted
from recsys.proposal.step_size import step_size


def first_model() -> dict[str, Noted]:
    """The settings of `[model]`."""
    return {"name": Noted("fm", "with its perceptron: finds pairs sooner than the default, autoint (docs/train.md)")}


def small_steps(about: float) -> dict[str, Noted]:
    """Settings of `[training]` for about so many shown items; none where there are enough for the default's steps."""
    size = step_size(round(about))
    if size == TrainingSection().batch_size:
        return {}
    few = f"for some {float(f'{about:.2g}'):,.0f} shown items: delete this line when there are many more"
    return {
        "batch_size": Noted(size, few),
        "init_scale": Noted(0.1, "likewise: pairs are found sooner from rows that begin apart"),
    }
