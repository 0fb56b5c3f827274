"""AutoInt's scores by a compiled kernel.

Shape suffixes: C candidates, G groups of them, L lanes of a group, F sparse fields, N numeric fields, D embedding
dimension, I fields of the item, M fields, V coordinates of a field (D, or D - 1 if `wide`), T tasks.
"""

from __future__ import annotations

import logging
import math

import numpy as np

from recsys.errors import ArtefactError
from serving.model.autoint.autoint_weights import autoint_weights
from serving.model.autoint.interacting_kernel import TILE, add_interactions, add_perceptron
from serving.model.autoint.lanes import BLOCK, LANES
from serving.model.chunked_scorer import ChunkedScorer, Floats, Scorer
from serving.model.graph_reader import INPUTS, ReadGraph

_logger = logging.getLogger(__name__)

BOUND = 1e-4
"""Largest difference of a probability from the engine's, on a drawn request, with which the kernel is used."""
_TRIED = 40
"""Candidates of that request."""
_LIMIT = 80.0
"""Beyond it a logit's probability is 0 or 1 in float32."""


class AutoIntScorer(ChunkedScorer):
    """AutoInt in float32 on one thread, on any processor that Numba compiles for, from what was exported; `mixed`: with
    queries, keys, their products and the perceptron's hidden layers in bfloat16 where `multiplies_pairs` says so.

    ArtefactError for a graph of another model, or of one that pools histories by attention, has heads whose size is no
    multiple of 4, or LayerNorm in its perceptron.
    """

    engine = "numba"
    chunk = 1 << 30

    def __init__(self, graph: ReadGraph, *, mixed: bool = False) -> None:
        self._weights = autoint_weights(graph, mixed=mixed)
        self._mixed = mixed
        super().__init__(dict(graph.inputs), graph.output)

    def _run(self, inputs: dict[str, Floats]) -> Floats:
        weights, fields = self._weights, self._weights.fields
        request_1MD = _fields(inputs, "request", weights.vectors_NV[: fields.request_numeric])
        items_CID = _fields(inputs, "item", weights.vectors_NV[fields.request_numeric :])
        first_order = 0.0
        if weights.wide:
            first_order = request_1MD[..., 0].sum(1) + items_CID[..., 0].sum(1)
            request_1MD, items_CID = request_1MD[..., 1:], items_CID[..., 1:]
        logits_CT = self._logits(request_1MD, items_CID) + weights.bias_T
        logits_CT = np.clip(logits_CT + np.reshape(first_order, (-1, 1)), -_LIMIT, _LIMIT)
        return np.asarray(1 / (1 + np.exp(-logits_CT)), np.float32)

    def _logits(self, request_1MV: Floats, items_CIV: Floats) -> Floats:
        """[C, T] of all parts but biases and first-order weights."""
        weights, candidates = self._weights, len(items_CIV)
        lanes_GXL = _side_by_side(items_CIV)
        request_MX = request_1MV[0] @ weights.request[:, :-1].T + weights.request[:, -1]
        if weights.code_form:
            request_MX = np.maximum(request_MX, 0)
        groups = math.ceil(candidates / LANES)
        logits_GTL = np.zeros((len(lanes_GXL), self._tasks, LANES), np.float32)
        padded = -(-(weights.fields.request + weights.fields.item) // BLOCK) * BLOCK
        pairs = self._room(padded * (weights.heads * weights.size // 2 + weights.size))
        items_GIVL = lanes_GXL.reshape(len(lanes_GXL), -1, items_CIV.shape[2], LANES)
        add_interactions(
            items_GIVL[:groups], np.ascontiguousarray(request_MX, np.float32), weights.numbers, weights.layers_L5,
            weights.output_TX, weights.fields.request + weights.fields.item, weights.heads, weights.size,
            weights.code_form, pairs, logits_GTL[:groups],
        )  # fmt: skip
        if (perceptron := weights.perceptron) is not None:
            first_A = perceptron.request @ request_1MV.reshape(-1) + perceptron.bias
            pairs = self._room(TILE * int(perceptron.layers_L4[:, 2].max()) // 2)
            add_perceptron(
                lanes_GXL, first_A, perceptron.numbers, perceptron.layers_L4, perceptron.output_TX, pairs, logits_GTL
            )
        return logits_GTL.swapaxes(1, 2).reshape(-1, self._tasks)[:candidates]

    def _room(self, vectors: int) -> Floats | None:
        """For so many vectors of pairs; None if there are none."""
        return np.empty(vectors * LANES, np.float32) if self._mixed else None


def load_autoint(graph: ReadGraph, engine: Scorer) -> Scorer:
    """The kernel, if the graph is one that it computes and its probabilities of a drawn request are within `BOUND` of
    the engine's; else `engine`, with the reason in the log."""
    try:
        scorer = AutoIntScorer(graph)
    except ArtefactError as reason:
        _logger.warning("scoring without the kernel: %s", reason)
        return engine
    request = _drawn(graph)
    away = float(np.abs(scorer.score(*request) - engine.score(*request)).max())
    if not away <= BOUND:
        _logger.warning("scoring without the kernel: it differs by %.2g from the engine, more than %g", away, BOUND)
        return engine
    return scorer


def _drawn(graph: ReadGraph) -> list[Floats]:
    """A request as large as rows and scaled numbers are."""
    rng = np.random.default_rng(0)
    request = []
    for name in INPUTS:
        dims = [_TRIED if size is None else size for size in graph.inputs.get(name, ())]
        lacking = (_TRIED if name.startswith("item") else 1, 0, 0)[: 2 if name.endswith("numeric") else 3]
        request.append(rng.normal(0, 0.3, dims or lacking).astype(np.float32))
    return request


def _fields(inputs: dict[str, Floats], side: str, vectors_NV: Floats) -> Floats:
    """Rows and numbers of the request or its items as vectors: [1 or C, M, D]."""
    rows, numbers = inputs.get(f"{side}_rows"), inputs.get(f"{side}_numeric")
    parts = [] if rows is None else [rows]
    if numbers is not None:
        parts.append(numbers[:, :, None] * vectors_NV)
    if not parts:
        return np.zeros((1, 0, vectors_NV.shape[1]), np.float32)
    return np.concatenate(parts, 1)


def _side_by_side(items_CIV: Floats) -> Floats:
    """[G, I * V, L], with fields and groups of zeros up to a multiple of 4."""
    candidates, fields, _ = items_CIV.shape
    more = -candidates % (LANES * TILE), -fields % BLOCK
    padded = np.pad(items_CIV, ((0, more[0]), (0, more[1]), (0, 0)))
    return np.ascontiguousarray(padded.reshape(len(padded) // LANES, LANES, -1).swapaxes(1, 2))
