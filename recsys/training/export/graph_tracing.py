"""Tracing a newly built model to an ONNX graph, which takes seconds."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch

from recsys.models import build
from recsys.models.base import RankingModel
from recsys.training.export.serving_graph import GraphShape, ServingGraph
from serving.model.graph_reader import MODEL
from streaming.encode.feature_spec import PooledHistory

if TYPE_CHECKING:
    import onnx

_OPSET = 20
_logger = logging.getLogger("torch.onnx._internal.exporter._registration")
"""Warns that torchvision is not installed, which no model needs."""


def trace(config: Any, shape: dict[str, Any]) -> bytes:
    """The ONNX graph of a newly built model with these options, for the fields of a `GraphShape` as a dict."""
    sizes = GraphShape(**shape | {"histories": tuple(PooledHistory(*history) for history in shape["histories"])})
    proto = traced(_model(config, sizes), sizes)
    described = proto.metadata_props.add()
    described.key, described.value = MODEL, config.model_dump_json()
    return bytes(proto.SerializeToString(deterministic=True))


def _model(config: Any, sizes: GraphShape) -> RankingModel:
    return build(
        config,
        n_sparse=sizes.request_sparse + sizes.item_sparse,
        n_numeric=sizes.request_numeric + sizes.item_numeric,
        dim=sizes.dim,
        tasks=sizes.tasks,
        histories=sizes.histories,
    )


def traced(model: RankingModel, sizes: GraphShape) -> onnx.ModelProto:
    """The ONNX graph of a model with its weights, for inputs of these sizes and any number of candidates."""
    inputs = {name: torch.zeros(dims) for name, dims in sizes.inputs(candidates=7).items()}
    free = {name: {0: torch.export.Dim.DYNAMIC} if name.startswith("item") else {} for name in inputs}
    _logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            ServingGraph(model).eval(),
            kwargs=inputs,
            dynamic_shapes=free,
            input_names=list(inputs),
            output_names=["scores"],
            opset_version=_OPSET,
            optimize=False,  # folding would turn named weights into constants; engines fold when they load
            verbose=False,
            dynamo=True,
        )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:  # stack traces of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    return proto
