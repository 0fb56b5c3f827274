"""What an exported graph says of itself: its inputs, its weights by name, and the model that it is of."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import ArtefactError

INPUTS = ("request_rows", "item_rows", "request_numeric", "item_numeric", "history_rows")
"""Inputs of an exported graph; those without fields are absent."""
MODEL = "model"
"""The graph's property that has the options of its model, in JSON."""

Shape = tuple[int | None, ...]
"""None where the graph takes any size."""


@dataclass(frozen=True, slots=True)
class ReadGraph:
    """`model` are the options of the model, empty in a graph of an earlier release."""

    inputs: Mapping[str, Shape]
    output: Shape
    constants: Mapping[str, npt.NDArray[np.float32]]
    model: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OpenedGraph:
    """A graph as OpenVINO has read it: its own form, `model`, for all that use it."""

    model: Any

    @staticmethod
    def of(graph: bytes) -> OpenedGraph:
        """ArtefactError for a graph that OpenVINO cannot read, ImportError where it is not installed."""
        try:
            return OpenedGraph(openvino_core().read_model(graph))
        except RuntimeError as error:
            raise unreadable(error) from None

    def read(self) -> ReadGraph:
        """What the graph says of itself."""
        ops, place = self.model.get_ops(), ["framework", MODEL]
        constants = {op.friendly_name: op.data for op in ops if op.get_type_name() == "Constant"}
        options = json.loads(self.model.get_rt_info(place).astype(str)) if self.model.has_rt_info(place) else {}
        output = shape(self.model.outputs[0].partial_shape)
        return ReadGraph(input_shapes(self.model.inputs), output, constants, options)


def read_graph(graph: bytes) -> ReadGraph:
    """What the graph says of itself. Raises as `OpenedGraph.of`."""
    return OpenedGraph.of(graph).read()


def unreadable(error: RuntimeError) -> ArtefactError:
    """What is said of a graph that OpenVINO refuses."""
    return ArtefactError(f"OpenVINO cannot read this graph: {error}")


@functools.cache
def openvino_core() -> Any:
    """The engine, shared by all scorers of this process."""
    import openvino

    return openvino.Core()


def input_shapes(ports: Iterable[Any]) -> dict[str, Shape]:
    """By name; the engine merges equal tensors, which keeps all their names."""
    return {next(name for name in INPUTS if name in port.names): shape(port.partial_shape) for port in ports}


def shape(dims: Iterable[Any]) -> Shape:
    """Of OpenVINO's or ONNX Runtime's dimensions."""
    return tuple(map(_size, dims))


def _size(dim: Any) -> int | None:
    if isinstance(dim, int):
        return dim
    static = getattr(dim, "is_static", False)
    return int(dim.get_length()) if static else None
