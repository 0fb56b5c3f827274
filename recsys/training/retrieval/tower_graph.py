"""A tower as an ONNX graph, written directly: it has four operators, so nothing is traced."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.models.two_tower import SMALLEST_NORM, Tower

_OPSET, _IR = 20, 9
ROWS, NUMBERS, VECTOR = "rows", "numeric", "vector"
"""Inputs [1, F, D] and [1, N], of which one without fields is left out, and the output [1, E]. Any number of rows."""


def tower_graph(tower: Tower) -> bytes:
    """ONNX bytes of the tower with its current weights."""
    from onnx import TensorProto, checker, helper

    weights: list[Any] = []
    nodes: list[Any] = []
    inputs, x = _inputs(tower, nodes)
    for number, layer in enumerate(tower.layers):
        weights += [_weight(f"w{number}", layer.weight), _weight(f"b{number}", layer.bias)]
        nodes.append(helper.make_node("Gemm", [x, f"w{number}", f"b{number}"], [f"h{number}"], transB=1))
        x = f"h{number}"
        if number + 1 < len(tower.layers):
            nodes.append(helper.make_node("Relu", [x], [f"r{number}"]))
            x = f"r{number}"
    weights += [_constant("axes", np.array([1], np.int64)), _constant("smallest", np.array(SMALLEST_NORM, np.float32))]
    nodes += [
        helper.make_node("ReduceL2", [x, "axes"], ["norm"], keepdims=1),
        helper.make_node("Max", ["norm", "smallest"], ["divisor"]),
        helper.make_node("Div", [x, "divisor"], [VECTOR]),
    ]
    out = helper.make_tensor_value_info(VECTOR, TensorProto.FLOAT, ["B", len(tower.layers[-1].bias)])  # type: ignore[arg-type]
    graph = helper.make_graph(nodes, "tower", inputs, [out], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _inputs(tower: Tower, nodes: list[Any]) -> tuple[list[Any], str]:
    """The graph's inputs, and the name of what the first layer reads, to which `nodes` lead."""
    from onnx import TensorProto, helper

    inputs, parts = [], []
    if tower.reads.sparse:
        shape: list[str | int | None] = ["B", tower.reads.sparse, tower.dim]
        inputs.append(helper.make_tensor_value_info(ROWS, TensorProto.FLOAT, shape))
        nodes.append(helper.make_node("Flatten", [ROWS], ["flat"], axis=1))
        parts.append("flat")
    if tower.reads.numeric:
        inputs.append(helper.make_tensor_value_info(NUMBERS, TensorProto.FLOAT, ["B", tower.reads.numeric]))
        parts.append(NUMBERS)
    nodes.append(helper.make_node("Concat", parts, ["x"], axis=1))
    return inputs, "x"


def _weight(name: str, tensor: Any) -> Any:
    return _constant(name, tensor.detach().cpu().numpy())


def _constant(name: str, array: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)
