"""The options of each ranking model, one section a model: `[model] name` chooses which.

The model's class takes its section as `Config`. Every subclass of `ModelOptions` in this module is the section of a
model. This module does not import torch, so that a server can read the configuration without it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from recsys.config.sections.section import Count, Section, error_at
from recsys.errors import InvalidValueError

Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Share of values dropped in training; 0 for none."""

Norm = Literal["none", "batch", "layer"]
"""How the hidden layers of a perceptron are normalised, before their ReLU."""

SMALLEST_BATCH = 16
"""Mean and variance of fewer rows say too little of those of all for batch norm."""

Sizes = Annotated[tuple[Count, ...], Field(strict=False)]
"""Sizes of layers, which TOML has as a list."""


SECTIONS: dict[str, type[ModelOptions]] = {}
"""The section of each model, by the model's name."""


class ModelOptions(Section):
    """Base of the models' sections; each subclass is one."""

    name: str
    """The default is the model's name."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        SECTIONS[cls.model_fields["name"].default] = cls

    @model_validator(mode="after")
    def _options_of_a_perceptron(self) -> Self:
        """Of every model that has them."""
        options = dict(self)
        for name, nothing in (("mlp_dropout", 0.0), ("mlp_norm", "none")):
            if options.get(name, nothing) != nothing and options.get("mlp") == ():
                raise error_at((name,), "has no effect with mlp = []: name the perceptron's sizes, or delete it")
        return self


class AutoIntConfig(ModelOptions):
    """Options of AutoInt, and with `mlp` of AutoInt+."""

    name: Literal["autoint"] = "autoint"
    form: Literal["paper", "code"] = "code"
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    heads: Count = 2
    units: Count = 32
    """Width of a layer: over all heads together (form `code`) or of each head (form `paper`)."""
    mlp: Sizes = (64, 32)
    """Hidden sizes of AutoInt+'s perceptron, (400, 400) in the published code; empty for plain AutoInt."""
    wide: bool = False
    """Coordinate 0 of each embedding row is the id's first-order weight (the code's `has_wide`)."""
    residual: bool = True
    dropout: Dropout = 0.0
    """Of attention weights."""
    embedding_dropout: Dropout = 0.0
    mlp_dropout: Dropout = 0.0
    mlp_norm: Norm = "none"

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.form == "code" and self.units % self.heads:
            raise InvalidValueError(
                f"units = {self.units} is the width of all heads together: make it a multiple of heads = {self.heads}"
            )
        return self


class FactorizationMachineConfig(ModelOptions):
    """Options of the factorisation machine, and with `mlp` of DeepFM."""

    name: Literal["fm"] = "fm"
    mlp: Sizes = (64, 32)
    """Hidden sizes of DeepFM's perceptron; empty for the plain factorisation machine."""
    mlp_dropout: Dropout = 0.0
    mlp_norm: Norm = "none"


class LogisticRegressionConfig(ModelOptions):
    """Logistic regression has no options; `features.dim` can be the number of tasks."""

    name: Literal["lr"] = "lr"


class CrossNetworkConfig(ModelOptions):
    """Options of DCN-V2."""

    name: Literal["dcn"] = "dcn"
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    """Of the cross network."""
    rank: Annotated[int, Field(ge=0)] = 0
    """Of the matrices of the cross layers; 0 for full matrices."""
    mlp: Sizes = (64, 32)
    """Hidden sizes of the perceptron beside the cross network; empty for the cross network alone."""
    mlp_dropout: Dropout = 0.0
    mlp_norm: Norm = "none"


class FinalMlpConfig(ModelOptions):
    """Options of FinalMLP."""

    name: Literal["finalmlp"] = "finalmlp"
    mlp: Annotated[Sizes, Field(min_length=1)] = (64, 32)
    """Sizes of the first perceptron's layers."""
    second_mlp: Annotated[Sizes, Field(min_length=1)] = (64, 32)
    """Sizes of the second perceptron's layers."""
    heads: Count = 1
    """Parts into which the two outputs are cut before their product."""
    gates: bool = True
    """Whether each perceptron weighs the coordinates of the fields by gates of its own."""
    mlp_dropout: Dropout = 0.0
    mlp_norm: Norm = "none"

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for name, sizes in (("mlp", self.mlp), ("second_mlp", self.second_mlp)):
            if sizes[-1] % self.heads:
                raise error_at((name,), f"its last size must be a multiple of heads = {self.heads}, not {sizes[-1]}")
        return self


class MixtureOfExpertsConfig(ModelOptions):
    """Options of MMoE."""

    name: Literal["mmoe"] = "mmoe"
    experts: Annotated[int, Field(ge=1, le=64)] = 4
    expert_mlp: Annotated[Sizes, Field(min_length=1)] = (64, 32)
    """Sizes of an expert's layers."""
    tower_mlp: Sizes = ()
    """Hidden sizes of each task's own perceptron over its mixture of experts; empty for a weighted sum."""
    mlp_dropout: Dropout = 0.0
    mlp_norm: Norm = "none"


class GatedConfig(ModelOptions):
    """Options of a DeepFM behind gates."""

    name: Literal["gated"] = "gated"
    gates: Annotated[Sizes, Field(min_length=1)] = (64,)
    """Hidden sizes of the network that opens the gates of a row."""
    sparsity: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the mean gate in the loss."""
    polarization: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the mean of pi (1 - pi), which makes gates certain."""
    mlp: Sizes = (64, 32)
    """Hidden sizes of DeepFM's perceptron; empty for the plain factorisation machine."""
    mlp_dropout: Dropout = 0.0
    mlp_norm: Norm = "none"


def _of_its_model(section: Any) -> Any:
    if isinstance(section, ModelOptions):
        return section
    if not isinstance(section, dict):
        raise InvalidValueError(f"must be a table with the options of a model, not {section!r}")
    name = section.get("name", AutoIntConfig().name)
    kind = SECTIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise error_at(("name",), f"unknown model {name!r}; choose one of {', '.join(SECTIONS)}")
    return kind.model_validate(section)


ModelSection = Annotated[SerializeAsAny[ModelOptions], BeforeValidator(_of_its_model)]
"""The section of the model that its `name` chooses."""


def with_model(section: ModelOptions, name: str) -> ModelOptions:
    """The section of the model `name`, with the options that both models have. Raises InvalidValueError."""
    kind = SECTIONS.get(name)
    if kind is None:
        raise InvalidValueError(f"unknown model {name!r}; choose one of {', '.join(SECTIONS)}")
    shared = {key: value for key, value in section if key in kind.model_fields and key != "name"}
    return kind.model_validate(shared)
