"""What an exported graph says of its AutoInt, for all that computes by its weights.

Shape suffixes: N numeric fields, D embedding dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.errors import ArtefactError
from serving.model.graph_reader import ReadGraph

Floats = npt.NDArray[np.float32]
NORM_EPS = 1e-8
"""Added to the variance by the LayerNorm of AutoInt's layers."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Weights of queries, keys, values and, if there is one, the residual part, one below the other, of one size.
    `norm` are the LayerNorm's factors and terms."""

    weight: Floats
    bias: Floats | None
    norm: tuple[Floats, Floats] | None

    @staticmethod
    def of(constants: Mapping[str, Floats], name: str) -> LayerWeights:
        """The one of that name."""
        factors, terms = (constants.get(f"{name}.norm.{part}") for part in ("weight", "bias"))
        norm = None if factors is None or terms is None else (factors, terms)
        return LayerWeights(constants[f"{name}.projection.weight"], constants.get(f"{name}.projection.bias"), norm)


@dataclass(frozen=True, slots=True)
class AutoIntLayers:
    """The layers between the fields and the output. `vectors_ND` are those of numeric fields, if there are any."""

    heads: int
    code_form: bool
    residual: bool
    wide: bool
    vectors_ND: Floats | None
    layers: tuple[LayerWeights, ...]

    @staticmethod
    def of(graph: ReadGraph) -> AutoIntLayers:
        """ArtefactError for a graph of another model, or of one that pools histories itself."""
        options, constants = graph.model, graph.constants
        if options.get("name") != "autoint":
            raise ArtefactError(f"its model is {options.get('name', 'not named')}, not autoint")
        if "history_rows" in graph.inputs:
            raise ArtefactError("its model pools histories by attention")
        return AutoIntLayers(
            int(options["heads"]),
            options["form"] == "code",
            bool(options["residual"]),
            bool(options["wide"]),
            constants.get("model.numeric_ND"),
            tuple(LayerWeights.of(constants, f"model.layers.{number}") for number in range(options["layers"])),
        )

    @property
    def parts(self) -> int:
        """Of a layer's weights."""
        return 4 if self.residual else 3

    @property
    def scale(self) -> float:
        """Of the product of queries and keys."""
        head_size = len(self.layers[0].weight) // self.parts // self.heads
        return head_size**-0.5 if self.code_form else 1.0
