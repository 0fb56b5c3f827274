"""Every model in the registry, and each that has a perceptron with its normalisations."""

from __future__ import annotations

from typing import get_args

from recsys.config.sections.learning.models import SECTIONS, Norm

NORMS = [norm for norm in get_args(Norm) if norm != "none"]
VARIANTS: list[tuple[str, ...]] = [
    (name, *norm)
    for name, section in SECTIONS.items()
    for norm in [(), *([(each,) for each in NORMS] if "mlp_norm" in section.model_fields else [])]
]
"""The name of a model, alone or with a normalisation."""
