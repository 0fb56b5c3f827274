"""AutoInt for all candidates of a request: the loops around the arithmetic of `lanes`.

What is exact and cheaper than the graph: the request's fields are projected once for all candidates, projections never
leave the processor's cache, and nothing is transposed.

Shape suffixes: G groups of `LANES` candidates (L lanes), I fields of the item, V coordinates of a field, M fields in
all, R fields of the request, H heads, K head size, W = H * K, N = 4 * K projections of a head (query, key, value,
residual), T tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.kernels.bits import jit
from serving.model.autoint.lane_norm import normalise
from serving.model.autoint.lane_pairs import times_vector_pairs, times_weight_pairs, to_pairs
from serving.model.autoint.lanes import (
    BLOCK,
    LANES,
    add_products,
    exponentials,
    rectified_sum,
    times_vectors,
    times_weights,
)

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
ARITHMETIC = 0xCF530BDD
"""CRC-32 of `lanes.py`, `lane_norm.py`, `lane_pairs.py` and `NORM_EPS`: cached code is used as long as this file stays
the same, so it changes with them."""
TILE = 4
"""Groups whose perceptron is computed together."""


@jit
def _linear(
    x: Any, x_at: Any, x_row: Any, numbers: Any, w_at: Any, bias: Any, b_at: Any,
    out: Any, o_at: Any, o_row: Any, rows: Any, inputs: Any, outputs: Any, rectified: Any,
) -> None:  # fmt: skip
    """A linear layer of `rows` rows, a multiple of 4 as are the outputs."""
    for row in range(0, rows, BLOCK):
        for column in range(0, outputs, BLOCK):
            times_weights(
                x, x_at + row * x_row, x_row, numbers, w_at + column * inputs, bias, b_at + column,
                out, o_at + row * o_row + column * LANES, o_row, inputs, rectified,
            )  # fmt: skip


@jit
def _linear_of_pairs(
    x: Any, x_at: Any, x_row: Any, numbers: Any, w_at: Any, bias: Any, b_at: Any,
    out: Any, o_at: Any, o_row: Any, rows: Any, inputs: Any, outputs: Any, rectified: Any,
) -> None:  # fmt: skip
    """As `_linear`, of so many pairs of inputs."""
    for row in range(0, rows, BLOCK):
        for column in range(0, outputs, BLOCK):
            times_weight_pairs(
                x, x_at + row * x_row, x_row, numbers, w_at + column * inputs, bias, b_at + column,
                out, o_at + row * o_row + column * LANES, o_row, inputs, rectified,
            )  # fmt: skip


@jit
def _match(projected: Any, query: Any, padded: Any, size: Any, scores: Any, pairs: Any, p_at: Any) -> None:
    """scores = Q K^T of 4 queries and all keys; of `pairs`, if there are any, where queries and keys stand then."""
    row, half = 4 * size * LANES, size * LANES
    for key in range(0, padded, BLOCK):
        if pairs is None:
            times_vectors(
                projected, query * row, row, projected, key * row + size * LANES, row, LANES,
                scores, key * LANES, padded * LANES, size,
            )  # fmt: skip
        else:
            times_vector_pairs(
                pairs, p_at + query * half, half, pairs, p_at + key * half + half // 2, half, LANES,
                scores, key * LANES, padded * LANES, size // 2,
            )  # fmt: skip


@jit
def _attend(projected: Any, fields: Any, padded: Any, size: Any, out: Any, o_at: Any, o_row: Any, scores: Any,
            pairs: Any, p_at: Any) -> None:  # fmt: skip
    """out = max(softmax(Q K^T) V + residual, 0) of one head, from its projections [padded, N] in vectors.

    The last vectors of `scores` hold the reciprocal sums of the softmax.
    """
    row, sums = 4 * size * LANES, BLOCK * padded * LANES
    if pairs is not None:
        for field in range(padded):
            to_pairs(projected, field * row, pairs, p_at + field * size * LANES, size)
    for query in range(0, padded, BLOCK):
        _match(projected, query, padded, size, scores, pairs, p_at)
        for i in range(BLOCK):
            exponentials(scores, i * padded * LANES, scores, sums + i * LANES, fields)
        for column in range(0, size, BLOCK):
            times_vectors(
                scores, 0, padded * LANES, projected, (2 * size + column) * LANES, LANES, row,
                out, o_at + query * o_row + column * LANES, o_row, fields,
            )  # fmt: skip
        for i in range(BLOCK):
            residual = (query + i) * row + 3 * size * LANES
            rectified_sum(
                out, o_at + (query + i) * o_row, scores, sums + i * LANES, projected, residual, size
            )  # fmt: skip


@jit
def _spread(request_RX: Any, head: Any, width: Any, projected: Any) -> None:
    """A head's projections of the request's fields, the same in every lane."""
    for field in range(len(request_RX)):
        for column in range(width):
            start = (field * width + column) * LANES
            projected[start : start + LANES] = request_RX[field, head * width + column]


@jit
def _project(before: Any, numbers: Any, w_at: Any, b_at: Any, projected: Any, padded: Any, width: Any, size: Any,
             code_form: Any, pairs: Any, pairs_at: Any) -> None:  # fmt: skip
    """A head's projections of the layer before; of `pairs`, if there is room for them, those of queries and keys."""
    row, x_row, rest = 4 * size * LANES, width * LANES, 2 * size
    if pairs is None:
        _linear(before, 0, x_row, numbers, w_at, numbers, b_at, projected, 0, row, padded, width, 2 * rest, code_form)
    else:
        to_pairs(before, 0, pairs, 0, padded * width // 2)
        _linear_of_pairs(pairs, 0, x_row // 2, numbers, pairs_at, numbers, b_at,
                         projected, 0, row, padded, width // 2, rest, code_form)  # fmt: skip
        _linear(before, 0, x_row, numbers, w_at + rest * width, numbers, b_at + rest,
                projected, rest * LANES, row, padded, width, rest, code_form)  # fmt: skip


@jit
def _interact(items: Any, at: Any, item_fields: Any, coordinates: Any, request_RX: Any, numbers: Any, layers_L5: Any,
              fields: Any, heads: Any, size: Any, code_form: Any, buffers: Any, pairs: Any) -> Any:  # fmt: skip
    """The last layer's output of one group, [padded, W] in vectors."""
    before, after, projected, scores = buffers
    padded, width, per_head, requests = -(-fields // BLOCK) * BLOCK, heads * size, 4 * size, len(request_RX)
    matched = padded * width // 2 * LANES
    for layer in range(len(layers_L5)):
        w_at, b_at, scale_at, shift_at, pairs_at = layers_L5[layer]
        for head in range(heads):
            bias = b_at + head * per_head
            if layer == 0:
                _spread(request_RX, head, per_head, projected)
                _linear(items, at, coordinates * LANES, numbers, w_at + head * per_head * coordinates, numbers, bias,
                        projected, requests * per_head * LANES, per_head * LANES, item_fields, coordinates, per_head,
                        code_form)  # fmt: skip
            else:
                _project(before, numbers, w_at + head * per_head * width, bias, projected, padded, width, size,
                         code_form, pairs, pairs_at + head * size * width)  # fmt: skip
            _attend(projected, fields, padded, size, after, head * size * LANES, width * LANES, scores, pairs, matched)
        if code_form:
            for field in range(fields):
                normalise(after, field * width * LANES, numbers, scale_at, numbers, shift_at, width)
        before, after = after, before
    return before


@jit
def add_interactions(items_GIVL: Any, request_RX: Any, numbers: Any, layers_L5: Any, output_TX: Any, fields: Any,
                     heads: Any, size: Any, code_form: Any, pairs: Any, logits_GTL: Any) -> None:  # fmt: skip
    """Add the logits of AutoInt's layers. Numbers of `items_GIVL` for padding are zeros; I is a multiple of 4.

    `layers_L5` has the places in `numbers` of each layer's weights (those of a head in a row, in blocks of 4 columns),
    biases, LayerNorm's factors and terms, which only the code form has, and the weights of queries and keys as pairs,
    which the first layer has not.
    With `pairs`, room for them, queries, keys and their products are of bfloat16; None: all are of float32.
    """
    groups, item_fields, coordinates, _ = items_GIVL.shape
    padded, rows = -(-fields // BLOCK) * BLOCK, len(request_RX) + item_fields
    shape, tasks = heads * size * LANES, len(output_TX)
    buffers = (
        np.zeros(padded * shape, np.float32),
        np.zeros(padded * shape, np.float32),
        np.zeros(max(padded, rows) * 4 * size * LANES, np.float32),
        np.zeros(BLOCK * (padded + 1) * LANES, np.float32),
    )
    items, logits, weights = items_GIVL.reshape(-1), logits_GTL.reshape(-1), output_TX.reshape(-1)
    for group in range(groups):
        at = group * item_fields * coordinates * LANES
        mixed = _interact(items, at, item_fields, coordinates, request_RX, numbers, layers_L5,
                          fields, heads, size, code_form, buffers, pairs)  # fmt: skip
        for task in range(tasks):
            place = (group * tasks + task) * LANES
            add_products(logits, place, mixed, 0, weights, task * fields * heads * size, fields * heads * size)


@jit
def add_perceptron(items_GXL: Any, first_A: Any, numbers: Any, layers_L4: Any, output_TX: Any, pairs: Any,
                   logits_GTL: Any) -> None:  # fmt: skip
    """Add the logits of a perceptron over the item's fields; `first_A` is what the request adds to its first layer.

    `layers_L4` has of each hidden layer the places in `numbers` of weights and biases, its inputs and outputs. G is a
    multiple of `TILE`. With `pairs`, room for them, layers after the first are of bfloat16, and their weights pairs.
    """
    groups, stride, _ = items_GXL.shape
    widest, tasks, last = layers_L4[:, 2:].max(), len(output_TX), output_TX.shape[1]
    before, after = np.zeros(TILE * widest * LANES, np.float32), np.zeros(TILE * widest * LANES, np.float32)
    items, logits, weights = items_GXL.reshape(-1), logits_GTL.reshape(-1), output_TX.reshape(-1)
    for group in range(0, groups, TILE):
        for layer in range(len(layers_L4)):
            w_at, b_at, inputs, outputs = layers_L4[layer]
            if layer == 0:
                _linear(items, group * stride * LANES, stride * LANES, numbers, w_at, first_A, 0,
                        after, 0, outputs * LANES, TILE, inputs, outputs, True)  # fmt: skip
            elif pairs is None:
                _linear(before, 0, inputs * LANES, numbers, w_at, numbers, b_at,
                        after, 0, outputs * LANES, TILE, inputs, outputs, True)  # fmt: skip
            else:
                to_pairs(before, 0, pairs, 0, TILE * inputs // 2)
                _linear_of_pairs(pairs, 0, inputs // 2 * LANES, numbers, w_at, numbers, b_at,
                                 after, 0, outputs * LANES, TILE, inputs // 2, outputs, True)  # fmt: skip
            before, after = after, before
        for one in range(TILE):
            for task in range(tasks):
                place = ((group + one) * tasks + task) * LANES
                add_products(logits, place, before, one * last * LANES, weights, task * last, last)
