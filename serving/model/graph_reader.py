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


def read_graph(graph: bytes) -> ReadGraph:
    """Read with OpenVINO's reader. ArtefactError for a graph that it cannot read."""
    read = openvino_model(graph)
    constants = {op.friendly_name: op.data for op in read.get_ops() if op.get_type_name() == "Constant"}
    place = ["framework", MODEL]
    options = json.loads(read.get_rt_info(place).astype(str)) if read.has_rt_info(place) else {}
    return ReadGraph(input_shapes(read.inputs), shape(read.outputs[0].partial_shape), constants, options)


def openvino_model(graph: bytes) -> Any:
    """OpenVINO's form of the graph. ArtefactError for a graph that it cannot read."""
    try:
        return openvino_core().read_model(graph)
    except RuntimeError as error:
        raise unreadable(error) from None


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
