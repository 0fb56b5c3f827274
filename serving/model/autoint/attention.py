"""AutoInt's attention between fields, by the weights of its exported graph, for a few candidates of a request.

The graph gives scores alone. A second one that also gave the attention would be compiled, kept and checked by every
server, for requests that are rare.

Shape suffixes: C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension, L layers,
H heads, K head size, W = H * K width of a layer.
"""

from __future__ import annotations

import numpy as np

from serving.model.autoint.autoint_layers import NORM_EPS, AutoIntLayers, Floats, LayerWeights
from serving.model.graph_reader import ReadGraph


class Attention:
    """The softmax of queries and keys of every head (Song et al., CIKM 2019, eq. 5).

    ArtefactError for a graph of another model, or of one that pools histories itself.
    """

    def __init__(self, graph: ReadGraph) -> None:
        self._model = AutoIntLayers.of(graph)

    def of(self, request_1FD: Floats, items_CFD: Floats, request_1N: Floats, items_CN: Floats) -> Floats:
        """What each field (second last axis) takes from each, [C, L, H, M, M]; the last axis sums to 1.

        Fields are in the model's order: sparse ones of the request, of the item, then numeric ones likewise.
        """
        mixed_CMW = self._fields(request_1FD, items_CFD, request_1N, items_CN)
        found = []
        for layer in self._model.layers:
            attention_CHMM, mixed_CMW = self._mixed(layer, mixed_CMW)
            found.append(attention_CHMM)
        return np.stack(found, 1)

    def _fields(self, request_1FD: Floats, items_CFD: Floats, request_1N: Floats, items_CN: Floats) -> Floats:
        candidates = max(len(items_CFD), len(items_CN))
        parts = [np.broadcast_to(part, (candidates, *part.shape[1:])) for part in (request_1FD, items_CFD)]
        if self._model.vectors_ND is not None:
            numbers = (np.broadcast_to(part, (candidates, part.shape[1])) for part in (request_1N, items_CN))
            parts.append(np.concatenate(list(numbers), 1)[:, :, None] * self._model.vectors_ND)
        return np.concatenate(parts, 1)[..., int(self._model.wide) :]

    def _mixed(self, layer: LayerWeights, fields_CMD: Floats) -> tuple[Floats, Floats]:
        """A layer's attention and its output, as `recsys.models.autoint.InteractingLayer` computes them."""
        projected = fields_CMD @ layer.weight.T
        if layer.bias is not None:
            projected = np.maximum(projected + layer.bias, 0)
        query, key, value, *residual = np.split(projected, self._model.parts, -1)
        query_CHMK, key_CHMK, value_CHMK = map(self._by_head, (query, key, value))
        attention_CHMM = _softmax(query_CHMK @ key_CHMK.swapaxes(2, 3) * np.float32(self._model.scale))
        mixed_CMW = (attention_CHMM @ value_CHMK).swapaxes(1, 2).reshape(query.shape)
        out_CMW = np.maximum(sum(residual, mixed_CMW), 0)
        return attention_CHMM, out_CMW if layer.norm is None else _normed(out_CMW, *layer.norm)

    def _by_head(self, projected_CMW: Floats) -> Floats:
        candidates, fields, width = projected_CMW.shape
        heads = self._model.heads
        return projected_CMW.reshape(candidates, fields, heads, width // heads).swapaxes(1, 2)


def mean_by_pair(attention_LHMM: Floats) -> Floats:
    """The mean attention of two fields to each other over layers, heads and both directions, [M, M] symmetric.

    Leading axes are averaged too.
    """
    fields = attention_LHMM.shape[-1]
    mean_MM = attention_LHMM.reshape(-1, fields, fields).mean(0)
    return np.asarray((mean_MM + mean_MM.T) / 2, np.float32)


def _softmax(scores: Floats) -> Floats:
    parts = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(parts / parts.sum(-1, keepdims=True), np.float32)


def _normed(values_CMW: Floats, factors_W: Floats, terms_W: Floats) -> Floats:
    centred = values_CMW - values_CMW.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_EPS) * factors_W + terms_W)
