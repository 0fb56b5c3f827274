"""Scores from an exported graph, by OpenVINO or ONNX Runtime. Never imports model code.

Shape suffixes: C candidates, F fields, D embedding dimension, N numeric fields, T tasks, L items of histories.
"""

from __future__ import annotations

import logging
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from recsys.errors import ArtefactError, InvalidValueError
from serving.model.graph_reader import INPUTS, Shape, input_shapes, openvino_core, openvino_model, shape, unreadable

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Engine = Literal["auto", "openvino", "onnxruntime", "numba"]
NO_HISTORY: Floats = np.zeros((1, 0, 0), np.float32)


class Scorer(Protocol):
    """Probabilities of each task, for the candidates of one request."""

    @property
    def engine(self) -> str:
        """What computes them, as `Engine` names it."""
        ...

    def score(
        self,
        request_rows_1FD: Floats,
        item_rows_CFD: Floats,
        request_numeric_1N: Floats,
        item_numeric_CN: Floats,
        history_rows_1LD: Floats = NO_HISTORY,
    ) -> Floats:
        """Probabilities [C, T]; C may be 0. ValueError names the input whose shape the graph does not take.

        Inputs that the graph lacks are ignored, as the model has no such fields.
        """
        ...


class ChunkedScorer(ABC):
    """The base of the engines. One request runs at a time; other threads wait.

    At most `chunk` candidates run at once, so that activations stay in the processor's cache; their
    number is padded to a multiple of `step`.
    """

    engine: ClassVar[str]
    chunk = 128
    step = 1

    def __init__(self, inputs: dict[str, Shape], output: Shape) -> None:
        if len(output) != 2 or output[1] is None:
            raise ArtefactError(f"the graph's scores have shape {output}, expected one column per task")
        self._inputs, self._tasks = inputs, output[1]
        self._lock = threading.Lock()

    @abstractmethod
    def _run(self, inputs: dict[str, Floats]) -> Floats:
        """Scores [C, T] of one chunk."""

    def score(
        self,
        request_rows_1FD: Floats,
        item_rows_CFD: Floats,
        request_numeric_1N: Floats,
        item_numeric_CN: Floats,
        history_rows_1LD: Floats = NO_HISTORY,
    ) -> Floats:
        arrays = (request_rows_1FD, item_rows_CFD, request_numeric_1N, item_numeric_CN, history_rows_1LD)
        given = dict(zip(INPUTS, arrays, strict=True))
        candidates = len(given[next(name for name in self._inputs if name.startswith("item"))])
        inputs = {name: self._checked(name, given[name], candidates) for name in self._inputs}
        scores_CT = np.empty((candidates, self._tasks), np.float32)
        size = self._chunk_size(candidates)
        with self._lock:
            for start in range(0, candidates, size):
                stop = min(start + size, candidates)
                scores_CT[start:stop] = self._run(_chunk(inputs, start, stop, size))[: stop - start]
        return scores_CT

    def _checked(self, name: str, array: Floats, candidates: int) -> Floats:
        wanted = (candidates if name.startswith("item") else 1, *self._inputs[name][1:])
        if array.shape != wanted:
            raise ValueError(f"{name} has shape {array.shape}, the graph takes {wanted}")
        return np.ascontiguousarray(array, np.float32)

    def _chunk_size(self, candidates: int) -> int:
        """Chunks of equal size, rather than full ones and a small remainder."""
        chunks = max(math.ceil(candidates / self.chunk), 1)
        return max(math.ceil(candidates / chunks / self.step), 1) * self.step


class OpenVinoScorer(ChunkedScorer):
    """OpenVINO on `threads` threads, in float32 (`f32`) or with its products and what is between them in bfloat16
    (`bf16`). ArtefactError for a graph that it cannot read.

    The engine compiles for each new number of candidates (milliseconds), so runs are padded to a few sizes, all
    compiled here.
    """

    engine = "openvino"
    step = 16

    def __init__(self, graph: bytes, threads: int = 1, precision: Literal["f32", "bf16"] = "f32") -> None:
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        read = openvino_model(graph)
        try:
            compiled = openvino_core().compile_model(read, "CPU", options)
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
    the kernel of AutoInt, see `load_autoint`, and `auto` for other models.

    InvalidValueError for an unknown engine, ArtefactError for a graph that cannot be read.
    """
    if engine not in get_args(Engine):
        raise InvalidValueError(f'unknown engine {engine!r}: choose "auto", "openvino", "onnxruntime" or "numba"')
    if engine == "numba":
        from serving.model.autoint.autoint_scorer import load_autoint  # its compiler takes a second to load

        return load_autoint(graph, load_scorer(graph, "auto", threads))
    if engine == "onnxruntime":
        return OnnxScorer(graph, threads)
    try:
        return OpenVinoScorer(graph, threads)
    except (ImportError, ArtefactError) as error:
        if engine == "openvino":
            raise
        logger.warning("scoring with ONNX Runtime: %s", error)
        return OnnxScorer(graph, threads)


def processor_capabilities() -> Collection[str]:
    """Types that OpenVINO computes with natively on this processor, such as `FP32` and `BF16`."""
    return tuple(openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _chunk(inputs: dict[str, Floats], start: int, stop: int, size: int) -> dict[str, Floats]:
    """The same request with some of its candidates, padded with zeros."""
    chunk = {}
    for name, array in inputs.items():
        if name.startswith("item"):
            array = array[start:stop]
            if stop - start < size:
                array = np.concatenate([array, np.zeros((size - stop + start, *array.shape[1:]), np.float32)])
        chunk[name] = array
    return chunk
