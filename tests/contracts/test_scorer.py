"""All engines keep the scorer's contract."""

from __future__ import annotations

from functools import cache, partial

import pytest

from serving.model.chunked_scorer import Scorer
from serving.model.scorer import OnnxScorer, OpenVinoScorer, load_scorer
from tests.contracts.scorer import ScorerContract

pytestmark = pytest.mark.slow


of_openvino, of_onnxruntime = cache(OpenVinoScorer), cache(OnnxScorer)
of_numba = cache(partial(load_scorer, engine="numba"))
"""A graph is compiled once for all tests."""


class TestOpenVino(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return of_openvino(graph)


class TestOnnxRuntime(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return of_onnxruntime(graph)


class TestNumba(ScorerContract):
    """The kernel for AutoInt; for other models what stands in for it."""

    def make(self, graph: bytes) -> Scorer:
        return of_numba(graph)
