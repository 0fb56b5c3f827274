"""The options of each ranking model, one section a model: `[model] name` chooses which.

The model's class takes its section as `Config`. A new model is a section here, in `ModelSection`, and a file in
`recsys.models`. This module does not import torch, so that a server can read the configuration without it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from recsys.config.section import Count, Section
from recsys.errors import InvalidValueError

Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Share of values dropped in training; 0 for none."""


class AutoIntConfig(Section):
    """Options of AutoInt, and with `mlp` of AutoInt+."""

    name: Literal["autoint"] = "autoint"
    form: Literal["paper", "code"] = "code"
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    heads: Count = 2
    units: Count = 32
    """Width of a layer: over all heads together (form `code`) or of each head (form `paper`)."""
    mlp: tuple[Count, ...] = (64, 32)
    """Hidden sizes of AutoInt+'s perceptron, (400, 400) in the published code; empty for plain AutoInt."""
    wide: bool = False
    """Coordinate 0 of each embedding row is the id's first-order weight (the code's `has_wide`)."""
    residual: bool = True
    dropout: Dropout = 0.0
    """Of attention weights."""
    embedding_dropout: Dropout = 0.0
    mlp_dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.form == "code" and self.units % self.heads:
            raise ValueError(
                f"units = {self.units} is the width of all heads together: make it a multiple of heads = {self.heads}"
            )
        return self


class FactorizationMachineConfig(Section):
    """Options of the factorisation machine, and with `mlp` of DeepFM."""

    name: Literal["fm"] = "fm"
    mlp: tuple[Count, ...] = (64, 32)
    """Hidden sizes of DeepFM's perceptron; empty for the plain factorisation machine."""
    mlp_dropout: Dropout = 0.0


def _name(section: Any) -> Any:
    return section.get("name", "autoint") if isinstance(section, dict) else getattr(section, "name", None)


ModelSection = Annotated[
    Annotated[AutoIntConfig, Tag("autoint")] | Annotated[FactorizationMachineConfig, Tag("fm")],
    Discriminator(_name),
]
SECTIONS: dict[str, type[Section]] = {
    kind.model_fields["name"].default: kind for kind in (AutoIntConfig, FactorizationMachineConfig)
}
"""The section of each model, by the model's name."""


def with_model(section: AutoIntConfig | FactorizationMachineConfig, name: str) -> Section:
    """The section of the model `name`, with the options that both models have. Raises InvalidValueError."""
    kind = SECTIONS.get(name)
    if kind is None:
        raise InvalidValueError(f"unknown model {name!r}; choose one of {', '.join(SECTIONS)}")
    shared = {key: value for key, value in section if key in kind.model_fields and key != "name"}
    return kind(**shared)
