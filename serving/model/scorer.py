"""Scores from an exported graph, by OpenVINO or ONNX Runtime. Never imports model code.

Shape suffixes: C candidates, F fields, D embedding dimension, N numeric fields, T tasks, L items of histories.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Literal, get_args

import numpy as np

from recsys.errors import ArtefactError, InvalidValueError
from serving.model.chunked_scorer import ChunkedScorer, Floats, Scorer
from serving.model.graph_reader import OpenedGraph, input_shapes, openvino_core, shape, unreadable

logger = logging.getLogger(__name__)

Engine = Literal["auto", "openvino", "onnxruntime", "numba"]


class OpenVinoScorer(ChunkedScorer):
    """OpenVINO on `threads` threads, in float32 (`f32`) or with its products and what is between them in bfloat16
    (`bf16`). ArtefactError for a graph that it cannot read.

    The engine compiles for each new number of candidates (milliseconds), so runs are padded to a few sizes, all
    compiled here.
    """

    engine = "openvino"
    step = 16

    def __init__(self, graph: bytes | OpenedGraph, threads: int = 1, precision: Literal["f32", "bf16"] = "f32") -> None:
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        opened = graph if isinstance(graph, OpenedGraph) else OpenedGraph.of(graph)
        try:
            compiled = openvino_core().compile_model(opened.model, "CPU", options)
        except RuntimeError as error:
            raise unreadable(error) from None
        super().__init__(input_shapes(compiled.inputs), shape(compiled.outputs[0].partial_shape))
        self._request = compiled.create_infer_request()
        for size in range(self.step, self.chunk + 1, self.step):
            sizes = {name: [size if d is None else d for d in dims] for name, dims in self._inputs.items()}
            self._run({name: np.zeros(dims, np.float32) for name, dims in sizes.items()})

    def _run(self, inputs: dict[str, Floats]) -> Floats:
        scores_CT: Floats = self._request.infer(inputs, share_inputs=True)[0]
        return scores_CT


class OnnxScorer(ChunkedScorer):
    """ONNX Runtime on `threads` threads. ArtefactError for a graph that it cannot read."""

    engine = "onnxruntime"

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no closer base class
            raise ArtefactError(f"ONNX Runtime cannot read this graph: {error}") from None
        inputs = {port.name: shape(port.shape) for port in session.get_inputs()}
        super().__init__(inputs, shape(session.get_outputs()[0].shape))
        self._session = session

    def _run(self, inputs: dict[str, Floats]) -> Floats:
        scores_CT: Floats = self._session.run(["scores"], inputs)[0]
        return scores_CT


def load_scorer(graph: bytes, engine: Engine = "auto", threads: int = 1) -> Scorer:
    """A scorer for `graph`; `auto` is OpenVINO where it is installed and takes the graph, else ONNX Runtime; `numba` is
    the kernel of AutoInt, see `load_autoint`, and `auto` for other models and where OpenVINO, which reads the weights,
    is not installed.

    InvalidValueError for an unknown engine, ArtefactError for a graph that cannot be read.
    """
    if engine not in get_args(Engine):
        raise InvalidValueError(f'unknown engine {engine!r}: choose "auto", "openvino", "onnxruntime" or "numba"')
    if engine == "onnxruntime":
        return OnnxScorer(graph, threads)
    try:
        opened = OpenedGraph.of(graph)
        scorer = OpenVinoScorer(opened, threads)
    except (ImportError, ArtefactError) as error:
        if engine == "openvino":
            raise
        logger.warning("scoring with ONNX Runtime: %s", error)
        return OnnxScorer(graph, threads)
    if engine != "numba":
        return scorer
    from serving.model.autoint.autoint_scorer import load_autoint  # its compiler takes a second to load

    return load_autoint(opened.read(), scorer)


def processor_capabilities() -> Collection[str]:
    """Types that OpenVINO computes with natively on this processor, such as `FP32` and `BF16`."""
    return tuple(openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
