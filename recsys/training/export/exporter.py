"""The dense part of a model as an ONNX graph for serving.

Shape suffixes: C candidates, D embedding dimension, r fields of the request, i fields of the item, T tasks.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsys.errors import ExportError
from recsys.models import MODELS
from recsys.models.base import RankingModel
from recsys.training.export import graph_tracing, serving_graph, tracing_process
from recsys.training.export.serving_graph import GraphShape
from streaming.encode.feature_spec import FeatureSpec

if TYPE_CHECKING:
    import onnx

logger = logging.getLogger(__name__)


class Exporter:
    """Exports one model repeatedly while it learns.

    Tracing takes seconds and hundreds of megabytes, so it happens once, in a separate process that starts here and
    ends when done; `graph` then only writes the current weights into the traced graph (milliseconds). A traced
    graph is kept in the folder `cache`, if given, under a hash of the model's options, torch's version and the models'
    source. `executor`, if given, traces instead of a separate process.

    Inputs, float32: `request_rows` [1, Fr, D], `item_rows` [C, Fi, D], `request_numeric` [1, Nr],
    `item_numeric` [C, Ni], `history_rows` [1, L, D] of all histories that the model pools itself, one after the other;
    those without fields are left out. Output: `scores` [C, T], the probability of a
    positive label of each task. C is free.
    Raises ExportError if the model is not one of `recsys.models.MODELS` or has other fields than `spec`.
    """

    def __init__(
        self,
        model: RankingModel,
        spec: FeatureSpec,
        cache: Path | None = None,
        executor: Executor | None = None,
    ) -> None:
        if (model.n_sparse, model.n_numeric) != (len(spec.sparse), len(spec.numeric)):
            raise ExportError(
                f"the model takes {model.n_sparse} sparse and {model.n_numeric} numeric fields; "
                f"the specification has {len(spec.sparse)} and {len(spec.numeric)}"
            )
        if model.histories != spec.histories:
            raise ExportError(f"the model pools {model.histories}; the specification has {spec.histories}")
        if type(model) not in MODELS:
            raise ExportError(f"{type(model).__name__} is not in recsys.models.MODELS: add it there to export it")
        self.dim = model.dim
        self._shape = GraphShape.of(spec, model.dim, model.tasks)
        self._config: Any = model.config
        self._file = cache / f"{self._key()}.graph" if cache else None
        self._executor = executor
        self._proto: onnx.ModelProto | None = None
        self._traced = self._start()

    @property
    def ready(self) -> bool:
        """Whether `graph` returns without waiting for the tracing."""
        return self._proto is not None or self._traced is None or self._traced.done()

    def graph(self, model: RankingModel, correction: float = 0.0) -> bytes:
        """The ONNX graph of `model` with its current weights; `correction` is added to every logit.

        Raises ExportError if `model` has other parameters than the one this exporter was made for, or if the tracing
        process was killed; the next call then starts another.
        """
        import onnx

        self._proto = self._proto or onnx.load_model_from_string(self._load())
        weights = {f"model.{name}": value for name, value in model.state_dict().items()}
        weights["correction"] = torch.tensor(correction)
        for initializer in self._proto.graph.initializer:
            value = weights.pop(initializer.name, None)
            if value is None:
                if initializer.name.startswith("model."):
                    raise ExportError(f"the given model has no {initializer.name}: make an exporter for it")
                continue
            array = np.asarray(value.detach().cpu().numpy(), np.float32)
            if list(array.shape) != list(initializer.dims):
                raise ExportError(f"{initializer.name} is {array.shape}, expected {tuple(initializer.dims)}")
            initializer.raw_data = array.tobytes()
        if weights:
            raise ExportError(f"the exported model has no {', '.join(sorted(weights))}: make an exporter for this one")
        return bytes(self._proto.SerializeToString(deterministic=True))

    def _key(self) -> str:
        from recsys import models

        own = [Path(serving_graph.__file__), Path(graph_tracing.__file__)]
        sources = [*sorted(Path(models.__file__).parent.rglob("*.py")), *own]
        described = repr((self._config, self._shape, torch.__version__))
        return hashlib.sha256(described.encode() + b"".join(file.read_bytes() for file in sources)).hexdigest()[:32]

    def _start(self) -> Future[bytes] | None:
        if self._file and self._file.exists():
            return None
        if self._executor:
            return self._submit(self._executor)
        return tracing_process.start(self._config, asdict(self._shape))

    def _submit(self, executor: Executor) -> Future[bytes]:
        return executor.submit(graph_tracing.trace, self._config, asdict(self._shape))

    def _load(self) -> bytes:
        if self._traced is None and self._file:
            try:
                return _read(self._file)
            except (OSError, ValueError) as error:
                logger.warning("tracing again, %s cannot be used: %s", self._file, error)
                self._file.unlink(missing_ok=True)
                self._traced = self._start()
        assert self._traced is not None
        try:
            graph = self._traced.result()
        except BrokenProcessPool:
            self._traced = self._start()
            raise ExportError("the process that traces the model was killed, perhaps for lack of memory") from None
        if self._file:
            _write(self._file, graph)
        return graph


def _write(file: Path, graph: bytes) -> None:
    """Write hash and graph, atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as handle:
        handle.write(hashlib.sha256(graph).digest() + graph)
    Path(handle.name).replace(file)


def _read(file: Path) -> bytes:
    """Read what `_write` wrote. Raises ValueError if it is damaged."""
    content = file.read_bytes()
    digest, graph = content[:32], content[32:]
    if hashlib.sha256(graph).digest() != digest:
        raise ValueError("its hash does not match its content")
    return graph
