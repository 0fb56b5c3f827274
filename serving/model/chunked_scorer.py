"""What scores the candidates of a request, and the base of the engines that do.

Shape suffixes: C candidates, F fields, D embedding dimension, N numeric fields, T tasks, L items of histories.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from recsys.errors import ArtefactError
from serving.model.graph_reader import INPUTS, Shape

Floats = npt.NDArray[np.float32]
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
