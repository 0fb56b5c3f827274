"""AutoInt's weights out of an exported graph, in the order in which the kernel reads them.

Shape suffixes: M fields in all, R fields of the request, I fields of the item, V coordinates of a field, A units of the
perceptron's first layer, X numbers, L layers, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import ArtefactError
from serving.model.autoint.autoint_layers import AutoIntLayers, Floats, LayerWeights
from serving.model.autoint.lanes import BLOCK
from serving.model.graph_reader import ReadGraph, Shape

Places = npt.NDArray[np.int64]
_BATCH_EPS = 1e-5
_NOTHING: Floats = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """Fields of the request and of the item, sparse and numeric."""

    request_sparse: int
    request_numeric: int
    item_sparse: int
    item_numeric: int

    @staticmethod
    def of(inputs: Mapping[str, Shape]) -> FieldCounts:
        names = ("request_rows", "request_numeric", "item_rows", "item_numeric")
        return FieldCounts(*(inputs[name][1] or 0 if name in inputs else 0 for name in names))

    @property
    def request(self) -> int:
        return self.request_sparse + self.request_numeric

    @property
    def item(self) -> int:
        return self.item_sparse + self.item_numeric

    @property
    def order(self) -> list[int]:
        """Where each field, those of the request first, stands in the model: sparse fields, then numeric ones."""
        sparse = self.request_sparse + self.item_sparse
        numeric = range(sparse, self.request + self.item)
        requests = [*range(self.request_sparse), *numeric[: self.request_numeric]]
        return [*requests, *range(self.request_sparse, sparse), *numeric[self.request_numeric :]]


@dataclass(frozen=True, slots=True)
class PerceptronWeights:
    """Those of AutoInt+: see `add_perceptron`."""

    request: Floats
    """[A, R * V], the request's part of the first layer."""
    bias: Floats
    numbers: Floats
    layers_L4: Places
    output_TX: Floats


@dataclass(frozen=True, slots=True)
class AutoIntWeights:
    """See `add_interactions`. `vectors_NV` are those of numeric fields; `bias_T` is of all parts together."""

    fields: FieldCounts
    heads: int
    size: int
    code_form: bool
    wide: bool
    vectors_NV: Floats
    request: Floats
    """The first layer's weights and, in its last column, biases, for the request's fields: [H * 4 K, V + 1]."""
    numbers: Floats
    layers_L5: Places
    output_TX: Floats
    bias_T: Floats
    perceptron: PerceptronWeights | None


def autoint_weights(graph: ReadGraph, *, mixed: bool = False) -> AutoIntWeights:
    """Weights for products in float32, or `mixed` with those in bfloat16.

    ArtefactError says of a graph that is not of an AutoInt that the kernel computes what is missing.
    """
    options, constants, model = graph.model, graph.constants, AutoIntLayers.of(graph)
    _check(options)
    fields = FieldCounts.of(graph.inputs)
    layers = [_by_head(layer, model) for layer in model.layers]
    size = layers[0][0].shape[0] // (4 * model.heads)
    tasks = constants["model.output.weight"].shape[0]
    by_field = constants["model.output.weight"].reshape(tasks, fields.request + fields.item, -1)
    dim = next(shape[2] for name, shape in graph.inputs.items() if name.endswith("rows")) if _sparse(fields) else None
    vectors = np.zeros((0, dim or 0), np.float32) if model.vectors_ND is None else model.vectors_ND
    perceptron = _perceptron(constants, fields, len(options["mlp"]), mixed) if options["mlp"] else None
    bias_T = constants["model.output.bias"] + constants["correction"]
    if perceptron is not None:
        bias_T = bias_T + constants[f"model.mlp.layers.{len(options['mlp'])}.bias"]
    paired = [
        _matching(weight, model.heads) if mixed and number else _NOTHING for number, (weight, *_) in enumerate(layers)
    ]
    numbers, layers_L5 = _flat([_blocks(w), *rest, pairs] for (w, *rest), pairs in zip(layers, paired, strict=True))
    return AutoIntWeights(
        fields, model.heads, size, model.code_form, model.wide, vectors,
        np.concatenate([layers[0][0], layers[0][1][:, None]], 1), numbers, layers_L5,
        _contiguous(by_field[:, fields.order].reshape(tasks, -1)), _contiguous(bias_T), perceptron,
    )  # fmt: skip


def _sparse(fields: FieldCounts) -> int:
    return fields.request_sparse + fields.item_sparse


def _check(options: Mapping[str, Any]) -> None:
    if options["mlp"] and options["mlp_norm"] == "layer":
        raise ArtefactError("its perceptron is normalised by LayerNorm")
    size = options["units"] // options["heads"] if options["form"] == "code" else options["units"]
    if size % BLOCK:
        raise ArtefactError(f"the size of its heads, {size}, is no multiple of {BLOCK}")


def _by_head(layer: LayerWeights, model: AutoIntLayers) -> list[Floats]:
    """Weights [H * 4 K, V], biases, and LayerNorm's factors and terms of one layer, by head.

    Queries are scaled beforehand: a positive factor passes the ReLU. A layer without residual has one of zeros.
    """
    weight, width = layer.weight, len(layer.weight) // model.parts
    bias = np.zeros(len(weight), np.float32) if layer.bias is None else layer.bias
    joined = np.concatenate([weight, bias[:, None]], 1)
    parts = np.zeros((4, model.heads, width // model.heads, joined.shape[1]), np.float32)
    parts[: model.parts] = joined.reshape(model.parts, *parts.shape[1:])
    parts[0] *= model.scale
    by_head = parts.swapaxes(0, 1).reshape(4 * width, -1)
    return [by_head[:, :-1], by_head[:, -1], *(layer.norm or [_NOTHING] * 2)]


def _matching(weight: Floats, heads: int) -> Floats:
    """Of weights [H * 4 K, V] those of queries and keys of each head, as pairs in blocks. V is even."""
    by_head = weight.reshape(heads, 4, -1, weight.shape[1])[:, :2]
    return _blocks(_pairs(by_head.reshape(-1, weight.shape[1])))


def _perceptron(constants: Mapping[str, Floats], fields: FieldCounts, hidden: int, mixed: bool) -> PerceptronWeights:
    layers = [_hidden(constants, number) for number in range(hidden)]
    first = layers[0][0].reshape(len(layers[0][0]), fields.request + fields.item, -1)[:, fields.order]
    request, item = (part.reshape(len(first), -1) for part in np.split(first, [fields.request], 1))
    weights = [item, *(weight for weight, _ in layers[1:])]
    for number in range(1, hidden):
        weights[number] = np.pad(weights[number], ((0, 0), (0, len(weights[number - 1]) - weights[number].shape[1])))
    output_TX = constants[f"model.mlp.layers.{hidden}.weight"]
    output_TX = np.pad(output_TX, ((0, 0), (0, len(weights[-1]) - output_TX.shape[1])))
    sizes = np.array([weight.shape[::-1] for weight in weights], np.int64)
    if mixed:
        weights[1:] = map(_pairs, weights[1:])
    numbers, places = _flat([_blocks(weight), bias] for weight, (_, bias) in zip(weights, layers, strict=True))
    return PerceptronWeights(request, layers[0][1], numbers, np.hstack([places, sizes]), _contiguous(output_TX))


def _hidden(constants: Mapping[str, Floats], number: int) -> tuple[Floats, Floats]:
    """Weights and biases of a hidden layer, with those of batch norm after it, for a multiple of 4 units."""
    name, norm = f"model.mlp.layers.{number}", f"model.mlp.norms.{number}"
    weight = constants[f"{name}.weight"]
    bias = constants.get(f"{name}.bias", np.zeros(len(weight), np.float32))
    if f"{norm}.mean" in constants:
        factor = constants[f"{norm}.weight"] / np.sqrt(constants[f"{norm}.variance"] + np.float32(_BATCH_EPS))
        weight, bias = weight * factor[:, None], (bias - constants[f"{norm}.mean"]) * factor + constants[f"{norm}.bias"]
    more = -len(weight) % BLOCK
    return np.pad(weight, ((0, more), (0, 0))), np.pad(bias, (0, more))


def _pairs(weight: Floats) -> Floats:
    """[outputs, inputs / 2], each two inputs as bfloat16 in the place of a float32."""
    bits = (np.ascontiguousarray(weight, np.float32).view(np.uint32) + np.uint32(0x8000)) >> np.uint32(16)
    return np.asarray((bits[:, ::2] | bits[:, 1::2] << np.uint32(16)).view(np.float32))


def _blocks(weight: Floats) -> Floats:
    """[outputs, inputs] in blocks of 4 outputs, the 4 of each input in a row."""
    return weight.reshape(-1, BLOCK, weight.shape[1]).swapaxes(1, 2).reshape(-1)


def _flat(layers: Iterable[list[Floats]]) -> tuple[Floats, Places]:
    """All arrays of all layers as one, and where each begins."""
    listed = list(layers)
    arrays = [array.reshape(-1) for layer in listed for array in layer]
    ends = np.cumsum([0, *map(len, arrays)])[:-1]
    return _contiguous(np.concatenate(arrays)), ends.astype(np.int64).reshape(len(listed), -1)


def _contiguous(array: Floats) -> Floats:
    """A copy in float32 of its own."""
    return np.array(array, np.float32, order="C")
